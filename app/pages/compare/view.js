// Two sets side by side on one query and one neighbour: what both have, what only the first has, what only the second.

// Okabe–Ito; the lines differ in kind too, and every row of the table has its sign.
const STATUSES = {
  kept: { color: "#56B4E9", halo: DARK, sign: "=", text: "in both sets" },
  lost: { color: "#D55E00", halo: LIGHT, sign: "−", text: "only in A" },
  new: { color: "#F0E442", halo: DARK, sign: "+", text: "only in B" },
};
const SIDE_BY_SIDE = 1180; // CSS pixels from which two stages stand beside each other
let sent = 0; // makes equal events distinguishable

// One set's stage. What is pointed at and selected it leaves to the view, which tells both.
class Pane extends Looking {
  constructor(owner) {
    super(el("section", { class: "pane" }));
    this.owner = owner;
    this.title = el("strong");
    this.note = el("span", { class: "muted" });
    this.stage = new Stage(this);
    this.root.append(el("header", { class: "pane-head" }, this.title, this.note), this.stage.root);
  }

  share() {
    return this.owner.root.classList.contains("beside") ? 0.55 : 0.4;
  }

  isVisible(pair) {
    return this.owner.shown[pair.status];
  }

  setData(data) {
    this.data = data;
    this.title.textContent = data.title;
    this.note.textContent = data.note;
    this.root.setAttribute("aria-label", data.title);
    this.pairs = data.pairs.map((pair) => ({ ...pair, ...STATUSES[pair.status], sign: undefined }));
    this.focusRecord = null;
    this.stage.setData(data);
  }

  highlight() {
    this.owner.lit(this);
  }

  choose(record) {
    const pairs = this.pairsOf(record);
    if (pairs.length === 1) return this.select(pairs[0]);
    this.focusRecord = record;
    return this.stage.paint();
  }

  select(pair) {
    this.owner.select(pair.id);
  }

  clear() {
    this.owner.clear();
  }
}

class CompareView {
  constructor(root) {
    this.root = root;
    this.data = null;
    this.shown = { kept: true, lost: true, new: true };
    this.strip = el("div", { class: "filmstrip", role: "group", "aria-label": "Neighbours in either set" });
    this.toggles = Object.entries(STATUSES).map(([status, look]) => this.toggle(status, look));
    this.said = el("span", { class: "muted", text: "← → query · ↑ ↓ neighbour · Z zoom to pair · 0 reset · hold H: photos only" });
    this.save = new SaveMenu(this);
    this.panes = [new Pane(this), new Pane(this)];
    for (const pane of this.panes) pane.stage.inStep = this.panes.map((other) => other.stage);
    this.body = el("tbody");
    const heads = ["", "Pair", "Query RoI", "Neighbour RoI", "Similarity in A", "Similarity in B"];
    this.table = el(
      "table",
      {},
      el("caption", { class: "sr", text: "Pairs of both sets with this neighbour: = in both, − only in A, + only in B" }),
      el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col", text })))),
      this.body,
    );
    this.empty = el("div", { class: "empty", text: "Neither set has a pair of these two photos." });
    root.replaceChildren(
      this.strip,
      el(
        "div",
        { class: "toolbar", role: "toolbar", "aria-label": "Pairs" },
        el("div", { class: "group" }, ...this.toggles),
        this.said,
        this.save.root,
      ),
      el("div", { class: "panes" }, ...this.panes.map((pane) => pane.root)),
      el("div", { class: "pairs" }, this.table, this.empty),
    );
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(root);
    this.keys = new Keys(this);
  }

  destroy() {
    this.resizer.disconnect();
    for (const pane of this.panes) pane.stage.stopTween();
    this.keys.destroy();
  }

  resize() {
    this.root.classList.toggle("beside", this.root.clientWidth >= SIDE_BY_SIDE);
    for (const pane of this.panes) pane.stage.layout();
  }

  toggle(status, { sign, text, color }) {
    const swatch = svg("svg", { class: `swatch ${status}`, viewBox: "0 0 34 8", "aria-hidden": "true" });
    swatch.append(svg("path", { d: "M1 4h32", class: "halo" }), svg("path", { d: "M1 4h32", class: "line", stroke: color }));
    const count = el("b");
    const onclick = () => this.show(status, !this.shown[status]);
    const button = el("button", { type: "button", class: "toggle", "data-status": status, onclick }, swatch, count);
    button.append(el("span", { text: `${sign} ${text}` }));
    return Object.assign(button, { count });
  }

  show(status, on) {
    this.shown[status] = on;
    this.paint();
  }

  setData(data) {
    if (!data || data === this.data) return;
    this.data = data;
    this.resize();
    this.panes.forEach((pane, index) => pane.setData(data.panes[index]));
    const counts = { kept: 0, lost: 0, new: 0 };
    for (const { status } of data.rows) counts[status] += 1;
    for (const toggle of this.toggles) toggle.count.textContent = counts[toggle.dataset.status];
    this.strip.replaceChildren(...data.neighbors.map((neighbor) => this.thumb(neighbor)));
    this.strip.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.rows = data.rows.map((row) => this.row(row));
    this.body.replaceChildren(...this.rows.map(({ node }) => node));
    this.table.hidden = !data.rows.length;
    this.empty.hidden = data.rows.length > 0;
    this.mark(data.selected);
    for (const url of data.prefetch) new Image().src = url;
  }

  thumb({ id, name, thumb, status, first, second, counts }) {
    const { sign, text } = STATUSES[status];
    const ranks = [first && `A ${first.rank}`, second && `B ${second.rank}`].filter(Boolean).join(" · ");
    const image = el("img", { alt: "", loading: "lazy", decoding: "async", src: thumb });
    image.onerror = () => image.replaceWith(icon("photo"));
    const both = Object.keys(STATUSES).map((key) => `${STATUSES[key].sign}${counts[key]}`).join(" ");
    return el(
      "button",
      {
        type: "button",
        class: `film ${status}`,
        "data-neighbor": id,
        title: name,
        "aria-current": id === this.data.neighbor ? "true" : null,
        "aria-label": `${name}, neighbour ${text}, ${counts.kept} pairs kept, ${counts.lost} lost, ${counts.new} new`,
        onclick: () => this.send("neighbor", id),
      },
      el("span", { class: "thumb" }, image, el("span", { class: "thumb-rank", text: `${sign} ${ranks}` })),
      el("span", { class: "film-text" }, el("b", { text: both })),
    );
  }

  row({ id, number, status, boxes, similarity }) {
    const { color, halo, sign } = STATUSES[status];
    const crop = (photo, box, side) => {
      const place = { image: photo.id, x: box[0], y: box[1], w: box[2], h: box[3] };
      const image = el("img", { loading: "lazy", decoding: "async", alt: `${side} region, ${sizeText(box)} px` });
      image.onerror = () => image.replaceWith(el("span", { class: "crop-missing" }, icon("photo")));
      image.src = this.data.crop_url.replace(/\{(\w+)\}/g, (_, name) => Math.round(place[name]));
      return el("td", { class: "crop" }, image);
    };
    const cosine = (value) => el("td", { class: "similarity", text: value === null ? "–" : value.toFixed(3) });
    const { query, neighbor } = this.data.panes[0];
    const node = el(
      "tr",
      {
        tabindex: 0,
        "data-id": id,
        "data-status": status,
        onclick: () => this.select(id),
        onmouseenter: () => this.point(id),
        onmouseleave: () => this.point(null),
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          this.select(id);
        },
      },
      el("td", { class: "sign", text: sign, "aria-label": STATUSES[status].text }),
      el("th", { scope: "row" }, el("span", { class: "chip-html", text: number })),
      crop(query, boxes[0], "query"),
      crop(neighbor, boxes[1], "neighbour"),
      ...similarity.map(cosine),
    );
    node.style.setProperty("--c", color);
    node.style.setProperty("--t", halo === DARK ? "#111" : "#fff");
    return { id, status, node };
  }

  // What is pointed at in one pane is lit in the other as well.
  lit(from) {
    const ids = new Set(from.hoverPairs.map(({ id }) => id));
    for (const pane of this.panes) {
      if (pane === from) continue;
      pane.hoverPairs = pane.pairs.filter(({ id }) => ids.has(id));
      pane.hoverRecords = [];
    }
    this.paint();
  }

  point(id) {
    for (const pane of this.panes) pane.hoverPairs = pane.pairs.filter((pair) => pair.id === id);
    this.paint();
  }

  mark(id) {
    this.selected = id;
    for (const pane of this.panes) {
      pane.selected = pane.pairs.find((pair) => pair.id === id) ?? null;
      pane.focusRecord = null;
    }
    this.paint();
  }

  select(id) {
    this.mark(id);
    this.send("pick", { id, n: ++sent });
  }

  clear() {
    const open = this.panes.some(({ focusRecord }) => focusRecord);
    if (this.selected && !open) this.select(null);
    else this.mark(this.selected);
  }

  paint() {
    for (const [name, on] of Object.entries(this.shown)) this.root.classList.toggle(`no-${name}`, !on);
    for (const toggle of this.toggles) toggle.setAttribute("aria-pressed", this.shown[toggle.dataset.status]);
    for (const pane of this.panes) pane.stage.paint();
    const hot = new Set(this.panes.flatMap((pane) => pane.hotPairs()).map(({ id }) => id));
    for (const { id, status, node } of this.rows) {
      node.hidden = !this.shown[status];
      node.classList.toggle("hot", hot.has(id));
      node.classList.toggle("selected", id === this.selected);
      if (id === this.selected) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
    }
  }

  goBy(offset) {
    const ids = this.data.neighbors.map(({ id }) => id);
    const next = ids[ids.indexOf(this.data.neighbor) + offset];
    if (next !== undefined) this.send("neighbor", next);
  }

  zoomToPair() {
    const pane = this.panes.find(({ selected }) => selected) ?? this.panes.find(({ pairs }) => pairs.length);
    const pair = pane?.selected ?? pane?.pairs[0];
    if (pair) pane.stage.zoomToPair(pair);
  }

  actionOf(key) {
    return {
      ArrowLeft: () => this.send("step", -1),
      ArrowRight: () => this.send("step", 1),
      ArrowUp: () => this.goBy(-1),
      ArrowDown: () => this.goBy(1),
      z: () => this.zoomToPair(),
      0: () => this.panes[0].stage.resetZoom(),
      Escape: () => (this.save.menu.hidden ? this.clear() : this.save.toggle(false)),
    }[key];
  }

  // What is saved, as SaveMenu asks for it.

  picture() {
    return stagesDrawn(this.root, this.panes.map((pane) => [pane.stage, pane.data.title]));
  }

  captionLines() {
    const counts = this.toggles.map(({ count, dataset }) => {
      const { sign, text } = STATUSES[dataset.status];
      return `${sign} ${count.textContent} ${text}${this.shown[dataset.status] ? "" : " (hidden)"}`;
    });
    return [...this.data.caption, `Pairs with this neighbour: ${counts.join(" · ")}.`];
  }

  fileName() {
    const { query, neighbor } = this.data.panes[0];
    return `compare-${fileStem(query)}-${fileStem(neighbor)}`;
  }

  link() {
    return lastingLink(this.data.place);
  }
}

export default entry(".compare-view", CompareView);
