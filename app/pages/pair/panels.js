// What surrounds the stage: filmstrip, toolbar, help sheet.

class Filmstrip {
  constructor(view) {
    this.view = view;
    this.root = el("div", { class: "filmstrip", role: "group", "aria-label": "Nearest neighbours" });
  }

  setData({ neighbors, neighbor }) {
    const fingerprint = JSON.stringify(neighbors);
    if (fingerprint !== this.fingerprint) {
      this.fingerprint = fingerprint;
      this.root.replaceChildren(...neighbors.map((item) => this.thumb(item)));
    }
    this.root.hidden = neighbors.length === 0;
    this.mark(neighbor?.rank);
  }

  thumb({ rank, name, thumb, similarity, pairs }) {
    const cosine = similarity.toFixed(3);
    const found = pairs === null ? "not embedded" : plural(pairs, "pair");
    const picture = el("span", { class: "thumb" });
    const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => image.replaceWith(icon("photo"));
    image.src = thumb;
    picture.append(image, el("span", { class: "thumb-rank", text: rank }));
    return el(
      "button",
      {
        type: "button",
        class: "film",
        "data-rank": rank,
        title: name,
        "aria-label": `neighbour ${rank}: ${name}, cosine ${cosine}, ${found}`,
        onclick: () => this.view.goTo(rank),
      },
      picture,
      el("span", { class: "film-text" }, el("b", { text: cosine }), el("span", { text: found })),
    );
  }

  mark(rank) {
    for (const button of this.root.children) {
      const current = Number(button.dataset.rank) === rank;
      button.removeAttribute("aria-current");
      if (!current) continue;
      button.setAttribute("aria-current", "true");
      // Only the strip scrolls: scrollIntoView would move the page as well.
      const { scrollLeft, clientWidth } = this.root;
      const { offsetLeft, offsetWidth } = button;
      if (offsetLeft < scrollLeft) this.root.scrollLeft = offsetLeft - 8;
      else if (offsetLeft + offsetWidth > scrollLeft + clientWidth)
        this.root.scrollLeft = offsetLeft + offsetWidth - clientWidth + 8;
    }
  }
}

const LAYERS = [
  ["boxes", "Boxes", "Candidate boxes (hold H to hide everything)"],
  ["links", "Links", "Links between matched boxes (L)"],
  ["rejected", "Rejected", "Boxes that a filter removed; click one to see why (R)"],
  ["attention", "Attention", "Where the network responds (A)"],
  ["matrix", "Matrix", "Similarity of each query RoI with each RoI of the neighbour (M)"],
];
const HEAT = ["#000004", "#57106e", "#bc3754", "#f98e09", "#fcffa4"];

class Toolbar {
  constructor(view) {
    this.view = view;
    this.toggles = Object.fromEntries(LAYERS.map((layer) => [layer[0], this.toggle(...layer)]));
    this.opacity = el("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Attention opacity" });
    this.opacity.oninput = () => view.setOpacity(Number(this.opacity.value));
    this.legendLow = el("span");
    this.legendHigh = el("span");
    this.legendBar = el("span", { class: "legend-bar" });
    this.legendLabel = el("span", { class: "legend-label" });
    this.legend = el(
      "div",
      { class: "legend" },
      this.opacity,
      el("span", { class: "legend-scale" }, this.legendLow, this.legendBar, this.legendHigh),
      this.legendLabel,
    );
    const label = "Least similarity shown";
    this.range = el("input", { type: "range", step: 0.001, class: "threshold", "aria-label": label });
    this.range.oninput = () => view.setThreshold(Number(this.range.value));
    this.value = el("output", { class: "threshold-value" });
    this.count = el("span", { class: "count" });
    this.threshold = el("label", { class: "slider" }, el("span", { text: "cos ≥" }), this.range, this.value);
    for (const input of [this.opacity, this.range]) input.onpointerup = () => input.blur(); // give the keys back
    const button = (name, title, onclick) =>
      el("button", { type: "button", class: "tool", title, "aria-label": title, onclick }, icon(name));
    this.zoomIn = button("zoom", "Zoom to the selected pair (Z)", () => view.zoomToPair());
    this.zoomOut = button("reset", "Reset zoom (0)", () => view.stage.resetZoom());
    this.help = el("button", {
      type: "button",
      class: "tool",
      text: "?",
      title: "Keys (?)",
      "aria-label": "Keys",
      onclick: () => view.help.toggle(),
    });
    this.save = new SaveMenu(view);
    const group = (name, ...children) => el("div", { class: `group ${name}` }, ...children);
    this.root = el(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "View" },
      group("layers", ...Object.values(this.toggles)),
      this.legend,
      group("filter", this.threshold, this.count, group("zooms", this.zoomIn, this.zoomOut, this.save.root, this.help)),
    );
  }

  toggle(name, label, title) {
    const count = el("span", { class: "toggle-count" });
    const onclick = () => this.view.toggleLayer(name);
    const attributes = { type: "button", class: "toggle", "data-layer": name, title, onclick };
    return el("button", attributes, icon(name), el("span", { text: label }), count);
  }

  setData(data) {
    const rejected = data.query.rejected.length + (data.neighbor?.rejected.length ?? 0);
    this.toggles.rejected.lastChild.textContent = rejected;
    this.toggles.rejected.disabled = rejected === 0;
    this.toggles.attention.hidden = !data.attention;
    this.toggles.matrix.hidden = !data.matrix;
    if (data.attention) {
      const { label, low, high, colors } = data.attention;
      this.legendLow.textContent = low;
      this.legendHigh.textContent = high;
      this.legendLabel.textContent = label;
      this.legendLabel.title = label;
      this.legendBar.style.background = `linear-gradient(90deg, ${(colors ?? HEAT).join(", ")})`;
    }
    const values = this.view.pairs.map((pair) => pair.similarity);
    this.threshold.hidden = values.length < 2;
    if (values.length) {
      this.range.min = Math.floor(Math.min(...values) * 1000) / 1000;
      this.range.max = Math.floor(Math.max(...values) * 1000) / 1000;
    }
    this.paint();
  }

  paint() {
    const { layers, threshold, pairs, opacity } = this.view;
    for (const [name, button] of Object.entries(this.toggles)) button.setAttribute("aria-pressed", layers[name]);
    this.legend.hidden = !layers.attention || !this.view.data.attention;
    this.opacity.value = opacity;
    this.range.value = threshold ?? this.range.min;
    this.value.textContent = Number(threshold ?? this.range.min).toFixed(3);
    const shown = this.view.visiblePairs().length;
    this.count.textContent = shown === pairs.length ? plural(shown, "pair") : `${shown} of ${pairs.length} pairs`;
    this.zoomIn.disabled = pairs.length === 0;
    this.showZoom();
  }

  showZoom() {
    this.zoomOut.disabled = !this.view.stage.zoomed();
  }
}

const KEYS = [
  ["← →", "previous, next query"],
  ["↑ ↓", "previous, next neighbour"],
  ["1 – 9", "pick a pair"],
  ["J K", "next, previous pair"],
  ["G X I", "good, wrong, interesting"],
  ["Z", "zoom to the pair"],
  ["0", "reset zoom"],
  ["H", "hold: photos only"],
  ["L R A M", "links, rejected boxes, attention, matrix"],
  ["Esc", "close, deselect"],
];
const GESTURES =
  "Scroll on a photo to zoom, drag to move, double-click to reset. " +
  "Click the same place again to reach the box beneath.";

class HelpSheet {
  constructor() {
    const rows = KEYS.flatMap(([keys, text]) => [
      el("dt", {}, ...keys.split(" ").map((key) => el(key === "–" ? "span" : "kbd", { text: key }))),
      el("dd", { text }),
    ]);
    const onclick = () => this.toggle(false);
    const attributes = { type: "button", class: "tool", title: "Close (Esc)", "aria-label": "Close", onclick };
    this.close = el("button", attributes, icon("wrong"));
    this.root = el(
      "div",
      { class: "help", role: "dialog", "aria-label": "Keys", hidden: true },
      el("header", {}, el("strong", { text: "Keys" }), this.close),
      el("dl", {}, ...rows),
      el("p", { text: GESTURES }),
    );
  }

  toggle(open = this.root.hidden) {
    if (open === !this.root.hidden) return;
    const scope = this.root.getRootNode();
    if (open) this.before = scope.activeElement;
    this.root.hidden = !open;
    if (open) this.close.focus();
    else this.before?.focus?.();
  }
}
