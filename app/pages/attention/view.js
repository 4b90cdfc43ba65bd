// The view: state, toolbar, RoIs, columns of panels, keys, and the entry point that Streamlit calls with new data.

const THROTTLE = 140; // ms between repeats of a held arrow key; faster triggers would be lost
const REST = 200; // ms without a change until the page is told; triggers in quick succession would be lost
const TYPING = "input, textarea, select, [role=textbox], [role=combobox], [role=slider], [role=listbox], [role=dialog]";
const LAYERS = [
  ["overlay", "Overlay"],
  ["photo", "Photo"],
  ["map", "Map"],
];

class AttentionView {
  constructor(root) {
    this.root = root;
    this.look = { to: "", opacity: 0.6, layer: "overlay", cells: false, own: false };
    this.echo = new Echo();
    this.columns = [];
    this.toolbar = el("div", { class: "toolbar" });
    this.roiStrip = el("div", { class: "rois", role: "group", "aria-label": "RoIs of the query" });
    this.grid = el("div", { class: "columns" });
    root.replaceChildren(this.toolbar, this.roiStrip, this.grid);
    this.buildToolbar();
    this.keys = (event) => this.keyDown(event);
    document.addEventListener("keydown", this.keys, true);
  }

  destroy() {
    clearTimeout(this.resting);
    document.removeEventListener("keydown", this.keys, true);
  }

  // -- toolbar ---------------------------------------------------------------------------------------

  buildToolbar() {
    const button = (name, text, title, onclick) =>
      el("button", { type: "button", class: "toggle", "data-name": name, title, text, onclick });
    const choice = (label, ...buttons) => el("div", { class: "group", role: "group", "aria-label": label }, ...buttons);
    this.activation = button("activation", "Activation norm", "Where the last layer responds (Esc)", () =>
      this.compareWith(""),
    );
    this.cosine = button("cosine", "Cosine", "What resembles a point or a RoI: click one", () =>
      this.compareWith(this.before || this.someTarget()),
    );
    this.layers = LAYERS.map(([name, text]) => button(name, text, "", () => this.change({ layer: name })));
    this.shapes = [
      button("smooth", "Smooth", "Interpolated between cells", () => this.change({ cells: false })),
      button("cells", "Cells", "As the network has it, a cell for 32 pixels of its input", () =>
        this.change({ cells: true }),
      ),
    ];
    this.scales = [
      button("absolute", "0 to 1", "One scale for all photos and encoders", () => this.change({ own: false })),
      button("own", "Own range", "From the least to the greatest of each map", () => this.change({ own: true })),
    ];
    this.scaleChoice = choice("Scale", ...this.scales);
    this.opacity = el("input", { type: "range", min: 0, max: 100, step: 5, "aria-label": "Opacity of the map" });
    this.opacity.oninput = () => this.fade(Number(this.opacity.value) / 100);
    this.opacity.onchange = () => this.change({ opacity: Number(this.opacity.value) / 100 });
    this.low = el("span");
    this.high = el("span");
    this.bar = el("span", { class: "legend-bar" });
    this.label = el("span", { class: "legend-label" });
    this.save = new SaveMenu(this);
    this.toolbar.append(
      choice("Map", this.activation, this.cosine),
      this.scaleChoice,
      choice("Layer", ...this.layers),
      el("label", { class: "slider" }, el("span", { text: "Opacity" }), this.opacity),
      choice("Shape", ...this.shapes),
      this.save.root,
      el("div", { class: "legend" }, el("span", { class: "legend-scale" }, this.low, this.bar, this.high), this.label),
    );
  }

  // -- words -----------------------------------------------------------------------------------------

  nameOf(id) {
    return [this.data.query, ...this.data.neighbors].find((photo) => photo.id === id)?.name ?? `photo ${id}`;
  }

  method() {
    const [id, x, y, width, height] = this.look.to.split("-").map(Number);
    if (!this.look.to) return "activation norm of the last layer (L2 over channels)";
    const where = width ? `the RoI of ${width} × ${height} px at (${x}, ${y})` : `the point (${x}, ${y})`;
    return `cosine of the last layer to ${where} of ${this.nameOf(id)}`;
  }

  scale() {
    return this.look.to && !this.look.own
      ? { low: "0", high: "1", said: "the same scale for all; below 0 counts as 0" }
      : { low: "least", high: "most", said: "each photo and encoder on a scale of its own" };
  }

  captionLines() {
    const { query, neighbors, neighbors_by, encoders } = this.data;
    const by = encoders.map(({ name, note }) => (note ? `${name} (${note})` : name)).join("; ");
    const { low, high, said } = this.scale();
    const shown = { overlay: `map at ${Math.round(this.look.opacity * 100)} % over the photo`, photo: "photo alone" };
    const near = neighbors.length ? ` Below it ${plural(neighbors.length, "neighbour")} by the set ${neighbors_by}.` : "";
    return [
      `Photo: ${query.name}.${near}`,
      `Encoders: ${by}.`,
      `Map: ${this.method()}; ${this.look.cells ? "cells" : "smooth"}; ${shown[this.look.layer] ?? "map alone"}.`,
      `Scale: ${low} to ${high}, ${said}.`,
    ];
  }

  // -- data ------------------------------------------------------------------------------------------

  setData(data) {
    if (!data || data === this.data) return; // a theme change runs the entry point again
    const { look, ...drawn } = data;
    const drawing = JSON.stringify(drawn);
    this.data = data;
    if (this.echo.isNews(look)) this.look = { ...look };
    if (drawing !== this.drawing && this.drawing && JSON.parse(this.drawing).query.id !== data.query.id) {
      clearTimeout(this.resting);
      this.look = { ...look };
      this.before = "";
    }
    if (drawing !== this.drawing) this.build();
    this.drawing = drawing;
    this.paint();
  }

  build() {
    const { encoders, query, neighbors, rois } = this.data;
    this.columns = encoders.map((encoder) => ({
      encoder,
      panels: [query, ...neighbors].map((photo, at) => new Panel(this, encoder, photo, at ? "neighbor" : "query")),
    }));
    this.grid.replaceChildren(...this.columns.map((column) => this.columnElement(column)));
    this.roiStrip.hidden = rois.length === 0;
    this.roiStrip.replaceChildren(
      el("span", { class: "muted", text: "Compare with" }),
      ...rois.map((box, at) => this.roiButton(box, at)),
    );
  }

  columnElement({ encoder, panels }) {
    const [query, ...neighbors] = panels;
    const notes = encoder.note.split(", ").map((note) => el("span", { class: `note ${note}`, text: note }));
    return el(
      "section",
      { class: "column", "aria-label": encoder.name },
      el("h3", {}, el("span", { class: "name", text: encoder.name, title: encoder.name }), ...(encoder.note ? notes : [])),
      query.frame,
      el("div", { class: "caption", text: query.photo.name, title: query.photo.name }),
      el("div", { class: "neighbors" }, ...neighbors.map((panel, at) => this.neighborElement(panel, at))),
    );
  }

  neighborElement(panel, at) {
    const said = `${at + 1} · cos ${panel.photo.similarity.toFixed(2)}`;
    const open = () => this.send("open", panel.photo.id);
    const title = `${panel.photo.name}: make it the query`;
    return el(
      "div",
      { class: "near" },
      panel.frame,
      el("button", { type: "button", class: "caption", title, "aria-label": `${said}, ${title}`, text: said, onclick: open }),
    );
  }

  roiButton(box, at) {
    const [x, y, w, h] = box;
    const to = `${this.data.query.id}-${box.join("-")}`;
    const url = this.data.crop_url.replace(/\{(\w+)\}/g, (_, name) => ({ image: this.data.query.id, x, y, w, h })[name]);
    const title = `RoI ${at + 1}: ${w} × ${h} px`;
    const image = el("img", { src: url, alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => image.replaceWith(icon("photo"));
    return el(
      "button",
      { type: "button", class: "roi", "data-to": to, title, "aria-label": title, onclick: () => this.compareWith(to) },
      image,
    );
  }

  // -- painting --------------------------------------------------------------------------------------

  mapUrl(encoder, image) {
    const { to, cells, own } = this.look;
    const url = this.data.attention_url.replace("{encoder}", encoder).replace("{image}", image);
    const asked = [to && `${to.split("-").length === 3 ? "point" : "roi"}=${to}`, cells && "cells=1", to && own && "own=1"].filter(Boolean);
    return asked.length ? `${url}?${asked.join("&")}` : url;
  }

  fade(opacity) {
    this.root.style.setProperty("--opacity", this.look.layer === "map" ? 1 : opacity);
  }

  paint() {
    const { to, opacity, layer, cells, own } = this.look;
    this.fade(opacity);
    this.opacity.value = Math.round(opacity * 100);
    this.opacity.disabled = layer !== "overlay";
    for (const [name] of LAYERS) this.root.classList.toggle(`only-${name}`, name === layer);
    this.root.classList.toggle("cells", cells);
    const press = (button, on) => button.setAttribute("aria-pressed", on);
    press(this.activation, !to);
    press(this.cosine, Boolean(to));
    this.layers.forEach((button) => press(button, button.dataset.name === layer));
    this.shapes.forEach((button) => press(button, (button.dataset.name === "cells") === cells));
    this.scales.forEach((button) => press(button, (button.dataset.name === "own") === own));
    this.scaleChoice.hidden = !to;
    for (const button of this.roiStrip.querySelectorAll(".roi")) press(button, button.dataset.to === to);
    const { low, high, said } = this.scale();
    this.low.textContent = low;
    this.high.textContent = high;
    this.bar.style.background = `linear-gradient(90deg, ${this.data.colors.join(", ")})`;
    this.label.textContent = `${this.method()}: ${said}`;
    for (const column of this.columns) for (const panel of column.panels) panel.paint(this.look);
  }

  // -- actions ---------------------------------------------------------------------------------------

  someTarget() {
    const { query, rois } = this.data;
    const middle = [query.width >> 1, query.height >> 1];
    return [query.id, ...(rois[0] ?? middle)].join("-");
  }

  compareWith(to) {
    if (this.look.to && !to) this.before = this.look.to;
    this.change({ to });
  }

  change(some) {
    this.look = { ...this.look, ...some };
    this.paint();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.echo.tell(this.look);
      this.send("look", this.look);
    }, REST);
  }

  // What is saved, as SaveMenu asks for it.

  picture() {
    return columnsDrawn(this);
  }

  fileName() {
    return `attention-${fileStem(this.data.query)}`;
  }

  link() {
    const { to, opacity, layer, cells, own } = this.look;
    const alpha = String(Math.round(opacity * 100));
    return lastingLink({ ...this.data.place, to, alpha, layer, cells: cells ? "1" : "", own: own ? "1" : "" });
  }

  keyDown(event) {
    if (!this.data || !this.root.getClientRects().length) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.composedPath().some((node) => node instanceof Element && node.matches(TYPING))) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      event.preventDefault();
      event.stopPropagation();
      if (event.repeat && event.timeStamp - this.lastStep < THROTTLE) return;
      this.lastStep = event.timeStamp;
      this.send("step", step);
    } else if (event.key === "Escape" && !this.save.menu.hidden) this.save.toggle(false);
    else if (event.key === "Escape" && this.look.to) this.compareWith("");
  }
}

export default entry(".attention-view", AttentionView);
