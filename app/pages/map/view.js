// @ts-check
// The view: state, toolbar, legend, tooltip, and the entry point that Streamlit calls with new data.

import { lastingLink } from "../../components/address.js";
import { GREY, rgb } from "../../components/colours.js";
import { el } from "../../components/dom.js";
import { Echo } from "../../components/echo.js";
import { entry } from "../../components/entry.js";
import { clamp } from "../../components/numbers.js";
import { SaveMenu } from "../../components/save.js";
import { asShown } from "../../components/shown.js";
import { Camera } from "./camera.js";
import { GlPoints, PlainPoints } from "./canvas.js";
import { Legend } from "./legend.js";
import { ACCENT, COLOURED, FAINT, fetchColumn, Grid, labelColours, paintPoints } from "./points.js";
import { attachPointer } from "./pointer.js";
import { Tip } from "./tip.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { MapLook, MapPayload } from "./component_types.js" */
/** @import { Column } from "./points.js" */

const REST = 500; // ms without a change before a trigger is sent

export class MapView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    /** @type {MapPayload | null} */
    this.data = null;
    /** @type {MapLook} */
    this.look = { by: "", k: 6, only: [], at: "" };
    this.echo = new Echo();
    this.tool = "move";
    /** @type {Map<string, Promise<Column>>} */
    this.columns = new Map(); // by address
    /** @type {Column | null} */
    this.column = null; // that colours the points
    /** @type {Grid | null} */
    this.grid = null; // once the places are there
    this.camera = new Camera();
    /** @type {Float32Array<ArrayBuffer> | null} */
    this.places = null; // x and y of each point
    /** @type {number[] | null} */
    this.chosen = null; // sorted indices
    /** @type {number[][] | null} */
    this.outline = null; // of the lasso or box being drawn
    this.hovered = -1;
    this.canvas = el("canvas", { class: "points" });
    this.surface = el("canvas", { class: "surface", role: "img", tabindex: 0 });
    this.tip = new Tip(this);
    this.message = el("div", { class: "message", role: "status", text: "Loading points …" });
    this.legend = new Legend(this);
    this.toolbar = el("div", { class: "toolbar" });
    const stage = el("div", { class: "stage" }, this.canvas, this.surface, this.tip.root, this.message);
    root.replaceChildren(this.toolbar, el("div", { class: "main" }, stage, this.legend.root));
    this.stage = stage;
    /** @type {GlPoints | PlainPoints} */
    this.painter = GlPoints.on(this.canvas);
    if (!this.painter) {
      const plain = el("canvas", { class: "points" }); // the first one may be bound to a broken WebGL context
      this.canvas.replaceWith(plain);
      this.canvas = plain;
      this.painter = new PlainPoints(plain);
    }
    root.dataset.painter = this.painter.constructor.name;
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => {
      this.painter = GlPoints.on(this.canvas);
      this.painter.setPlaces(this.places);
      this.paint();
    });
    this.buildToolbar();
    attachPointer(this);
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(stage);
    root.onkeydown = (event) => this.keyDown(event);
  }

  destroy() {
    this.resizer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
  }

  buildToolbar() {
    /** @type {(name: string, text: string, title: string) => HTMLElement} */
    const tool = (name, text, title) =>
      el("button", {
        type: "button",
        class: "toggle",
        "data-tool": name,
        title,
        text,
        onclick: () => this.setTool(name),
      });
    this.tools = [
      tool("move", "Move", "Drag to move, scroll to zoom, double-click to show all points"),
      tool("lasso", "Lasso", "Draw around points to select them (or hold Shift and drag)"),
      tool("box", "Box", "Draw a box around points to select them"),
    ];
    this.picker = el("select", { "aria-label": "Colour by" });
    this.picker.onchange = () => this.change({ by: this.picker.value, only: [] });
    this.clusters = el("input", { type: "number", min: 2, "aria-label": "Number of clusters" });
    this.clusters.onchange = () =>
      this.change({ k: clamp(Math.round(this.clusters.valueAsNumber) || 6, 2, this.data.most_clusters), only: [] });
    this.clusterLabel = el("label", { class: "field" }, el("span", { text: "k" }), this.clusters);
    this.whole = el("button", {
      type: "button",
      class: "toggle",
      text: "Whole map",
      title: "Show all points (double-click)",
    });
    this.whole.onclick = () => this.showAll();
    this.count = el("span", { class: "count", role: "status" });
    this.keep = el("button", { type: "button", class: "keep", hidden: true });
    this.keep.onclick = () => this.send("keep", [...this.chosen]);
    this.drop = el("button", { type: "button", class: "toggle", text: "Clear", title: "Clear the selection (Esc)" });
    this.drop.onclick = () => this.choose(null);
    this.save = new SaveMenu(this);
    this.toolbar.append(
      el("div", { class: "group", role: "group", "aria-label": "Tool" }, ...this.tools),
      this.whole,
      el("label", { class: "field" }, el("span", { text: "Colour" }), this.picker),
      this.clusterLabel,
      el("div", { class: "group end" }, this.count, this.drop, this.keep, this.save.root),
    );
    this.setTool("move");
  }

  // -- data ------------------------------------------------------------------------------------------

  /** @param {MapPayload} data */
  setData(data) {
    if (!data) return;
    const news = this.echo.isNews(data.look);
    const first = data.state !== this.data?.state || data.column_url !== this.data?.column_url;
    if (first || news) {
      this.look = { ...data.look };
      const [x, y, zoom] = data.look.at.split(",").map(Number);
      this.camera.reset();
      if (zoom) Object.assign(this.camera, { x, y, zoom });
    }
    this.data = data;
    this.ink = getComputedStyle(this.root).color.match(/\d+/g)?.slice(0, 3).map(Number);
    this.picker.replaceChildren(
      ...data.colourings.map(({ name, label }) => el("option", { value: name, text: label })),
    );
    this.clusters.max = String(data.most_clusters);
    if (first) this.fetchPlaces();
    else if (this.grid) this.recolour();
  }

  /** @param {string} column */
  url(column) {
    const k = column === "cluster" ? `&k=${this.look.k}` : "";
    return `${this.data.column_url.replace("{column}", column)}?v=${this.data.state}${k}`;
  }

  async fetchPlaces() {
    const { state } = this.data;
    this.grid = null;
    this.columns.clear();
    this.choose(null);
    this.message.hidden = false;
    const wanted = ["places", "images", ...(this.data.what === "rois" ? ["boxes"] : [])];
    try {
      const [places, images, boxes] = await Promise.all(wanted.map((name) => fetchColumn(this.url(name))));
      if (state !== this.data.state) return; // overtaken
      this.places = /** @type {Float32Array<ArrayBuffer>} */ (places.values);
      this.images = images.values;
      this.boxes = boxes?.values;
    } catch (problem) {
      this.message.textContent = /** @type {Error} */ (problem).message;
      return;
    }
    this.grid = new Grid(this.places);
    this.camera.span(this.places);
    this.painter.setPlaces(this.places);
    await this.recolour();
  }

  async recolour() {
    const url = this.url(this.look.by);
    if (!this.columns.has(url)) this.columns.set(url, fetchColumn(url));
    try {
      const column = await this.columns.get(url);
      if (url !== this.url(this.look.by)) return; // overtaken
      this.column = column;
      this.message.hidden = true;
    } catch (problem) {
      this.columns.delete(url);
      this.message.textContent = /** @type {Error} */ (problem).message;
      this.message.hidden = false;
      return;
    }
    const known = new Set(this.column.labels ?? []);
    this.look.only = this.look.only.filter((label) => known.has(label));
    this.paint();
  }

  // -- highlighted points ----------------------------------------------------------------------------

  /**
   * Isolated labels and selected points are highlighted. A new selection ignores the earlier one.
   * @param {number} i
   * @param {boolean} withChosen
   */
  isBright(i, withChosen) {
    if (this.isolated && !this.isolated[this.column.values[i]]) return false;
    return !withChosen || !this.chosenMask || this.chosenMask[i] === 1;
  }

  colouring() {
    return this.data.colourings.find(({ name }) => name === this.look.by);
  }

  ownInk() {
    return `#${(this.ink ?? [0, 0, 0]).map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  }

  paint() {
    const { labels } = this.column;
    const { only } = this.look;
    this.isolated = labels && only.length ? labels.map((label) => only.includes(label)) : null;
    const bytes = paintPoints(this.column, this.ownInk(), (i) => this.isBright(i, true));
    // An isolated label that shares its grey with others gets a colour.
    if (this.isolated) this.accent(bytes);
    this.painter.setColours(bytes);
    this.legend.paint();
    this.paintToolbar();
    this.redraw();
  }

  /** @param {Uint8Array} bytes */
  accent(bytes) {
    const colours = labelColours(this.column, this.ownInk());
    const accent = rgb(ACCENT);
    const { values } = this.column;
    for (let i = 0; i < values.length; i++) {
      if (!this.isolated[values[i]] || colours[values[i]] !== GREY || bytes[4 * i + 3] === FAINT) continue;
      bytes.set([...accent, COLOURED], 4 * i);
    }
  }

  paintToolbar() {
    const { what, count } = this.data;
    const noun = what === "photos" ? "photo" : "RoI";
    this.picker.value = this.look.by;
    this.clusterLabel.hidden = this.look.by !== "cluster";
    this.clusters.value = String(this.look.k);
    const chosen = this.chosen?.length ?? 0;
    const photos = chosen ? new Set(this.chosen.map((i) => this.images[i])).size : 0;
    const total = `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
    this.count.textContent = this.chosen ? `${chosen.toLocaleString()} of ${total} selected` : total;
    this.drop.hidden = !this.chosen;
    this.keep.hidden = !photos;
    this.keep.textContent = `Open ${photos === 1 ? "the selected photo" : `${photos.toLocaleString()} selected photos`} in Explore`;
    this.surface.setAttribute("aria-label", `Map of ${total} coloured by ${this.look.by}`);
  }

  // -- drawing ---------------------------------------------------------------------------------------

  resize() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth) return;
    const sharp = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.surface]) {
      canvas.width = Math.round(clientWidth * sharp);
      canvas.height = Math.round(clientHeight * sharp);
    }
    this.camera.fit(clientWidth, clientHeight);
    this.redraw();
  }

  redraw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  // Few points are drawn large. Zooming in enlarges them a little.
  pointSize() {
    const crowd = clamp(15 - Math.log10(Math.max(10, this.data?.count ?? 10)) * 2.6, 2, 11);
    return crowd * clamp(this.camera.zoom ** 0.25, 1, 3);
  }

  draw() {
    if (!this.camera.width || !this.grid) return;
    const sharp = window.devicePixelRatio || 1;
    this.painter.draw(this.camera.transform(), this.pointSize() * sharp);
    const over = this.surface.getContext("2d");
    over.setTransform(sharp, 0, 0, sharp, 0, 0);
    over.clearRect(0, 0, this.camera.width, this.camera.height);
    over.strokeStyle = this.ownInk();
    if (this.outline?.length > 1) {
      over.setLineDash([5, 4]);
      over.beginPath();
      for (const [x, y] of this.outline) over.lineTo(x, y);
      over.closePath();
      over.stroke();
      over.setLineDash([]);
    }
    if (this.hovered >= 0) {
      const [x, y] = this.camera.toPixels(this.places[2 * this.hovered], this.places[2 * this.hovered + 1]);
      over.lineWidth = 2;
      over.beginPath();
      over.arc(x, y, this.pointSize() / 2 + 3, 0, 2 * Math.PI);
      over.stroke();
      over.lineWidth = 1;
    }
  }

  // -- hovering --------------------------------------------------------------------------------------

  /**
   * @param {number} i -1 for none
   * @param {number} [px] of the pointer, as py
   * @param {number} [py]
   */
  hover(i, px, py) {
    this.surface.classList.toggle("over", i >= 0);
    if (i === this.hovered) return;
    this.hovered = i;
    this.redraw();
    this.tip.hide();
    if (i >= 0) this.tip.show(i, px, py);
  }

  // -- keys ------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    if (event.key === "Escape" && this.chosen) return this.choose(null);
    if (event.target !== this.surface || event.ctrlKey || event.metaKey || event.altKey) return undefined;
    const [dx, dy] =
      { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key] ?? [];
    const factor = { "+": 1.3, "=": 1.3, "-": 1 / 1.3 }[event.key];
    if (dx === undefined && !factor) return undefined;
    event.preventDefault();
    event.stopPropagation();
    if (factor) this.camera.zoomAt(factor, this.camera.width / 2, this.camera.height / 2);
    else this.camera.pan(dx, dy);
    this.redraw();
    return this.rest();
  }

  // -- what is saved, as SaveMenu asks for it ----------------------------------------------------------

  picture() {
    return asShown(this.stage, this.legend.root);
  }

  captionLines() {
    const { label, note } = this.colouring();
    const clusters = this.look.by === "cluster" ? `, k = ${this.look.k}` : "";
    const { only } = this.look;
    return [
      ...this.data.figure.caption,
      `Colour: ${label}${clusters}, ${note}.${only.length ? ` Only ${only.join(", ")}.` : ""}`,
      ...(this.chosen ? [`${this.count.textContent}.`] : []),
    ];
  }

  fileName() {
    return this.data.figure.name;
  }

  link() {
    const { by, k, only, at } = this.look;
    return lastingLink({ ...this.data.figure.place, colour: by, clusters: String(k), only, at });
  }

  // -- actions ---------------------------------------------------------------------------------------

  /** @param {string} name */
  setTool(name) {
    this.tool = name;
    for (const button of this.tools) button.setAttribute("aria-pressed", String(button.dataset.tool === name));
    this.surface.classList.toggle("drawing", name !== "move");
  }

  /** @param {number[] | null} indices */
  choose(indices) {
    this.chosen = indices;
    this.chosenMask = null;
    if (indices) {
      this.chosenMask = new Uint8Array(this.images.length);
      for (const i of indices) this.chosenMask[i] = 1;
    }
    if (this.column && this.grid) this.paint();
  }

  /** @param {number} i */
  open(i) {
    this.send("open", this.images[i]);
  }

  /** @param {Partial<MapLook>} some */
  change(some) {
    this.look = { ...this.look, ...some };
    this.recolour();
    this.tell();
  }

  showAll() {
    this.camera.reset();
    this.redraw();
    this.rest();
  }

  rest() {
    const { x, y, zoom } = this.camera;
    const whole = zoom === 1 && !x && !y;
    this.look.at = whole ? "" : `${x.toFixed(3)},${y.toFixed(3)},${zoom.toFixed(2)}`;
    this.tell();
  }

  tell() {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.echo.tell(this.look);
      this.send("look", this.look);
    }, REST);
  }
}

export default entry(".map-view", MapView);
