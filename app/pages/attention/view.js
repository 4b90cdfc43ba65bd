// @ts-check
// The view: state, toolbar, RoIs, columns of panels, keys, and the entry point that Streamlit calls with new data.

import { lastingLink } from "../../components/address.js";
import { gradient } from "../../components/colours.js";
import { el, picture } from "../../components/dom.js";
import { Echo } from "../../components/echo.js";
import { entry } from "../../components/entry.js";
import { SaveMenu } from "../../components/save.js";
import { cropUrl } from "../../components/urls.js";
import { fileStem } from "../../components/words.js";
import { captionOf, methodOf, scaleOf } from "./caption.js";
import { columnsDrawn } from "./figure.js";
import { Panel } from "./panel.js";
import { CLASS_TOKEN, mapUrl, targetOf } from "./target.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { AttentionPayload, EncoderColumn as Encoder, AttentionLook } from "./component_types.js" */

/** @typedef {{ encoder: Encoder, panels: Panel[] }} Column */

const THROTTLE = 140; // ms between repeats of a held arrow key; faster triggers would be lost
const REST = 200; // ms without a change before a trigger is sent; triggers in quick succession would be lost
const TYPING = "input, textarea, select, [role=textbox], [role=combobox], [role=slider], [role=listbox], [role=dialog]";
/** @type {[AttentionLook["layer"], string][]} */
const LAYERS = [
  ["overlay", "Overlay"],
  ["photo", "Photo"],
  ["map", "Map"],
];

export class AttentionView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    /** @type {AttentionPayload | null} */
    this.data = null;
    /** @type {AttentionLook} */
    this.look = { to: "", opacity: 0.6, layer: "overlay", cells: false, own: false };
    this.echo = new Echo();
    this.drawing = ""; // what is drawn besides the look
    this.before = ""; // the previous target
    this.lastStep = 0; // time of the last step by key
    /** @type {Column[]} */
    this.columns = [];
    this.toolbar = el("div", { class: "toolbar" });
    this.roiStrip = el("div", { class: "rois", role: "group", "aria-label": "RoIs of the query" });
    this.grid = el("div", { class: "columns" });
    root.replaceChildren(this.toolbar, this.roiStrip, this.grid);
    this.buildToolbar();
    this.keyDown = this.keyDown.bind(this);
    document.addEventListener("keydown", this.keyDown, true);
  }

  destroy() {
    clearTimeout(this.resting);
    document.removeEventListener("keydown", this.keyDown, true);
  }

  // -- toolbar ---------------------------------------------------------------------------------------

  buildToolbar() {
    /** @type {(name: string, text: string, title: string, onclick: () => void) => HTMLElement} */
    const button = (name, text, title, onclick) =>
      el("button", { type: "button", class: "toggle", "data-name": name, title, text, onclick });
    /** @type {(label: string, ...buttons: Node[]) => HTMLElement} */
    const choice = (label, ...buttons) => el("div", { class: "group", role: "group", "aria-label": label }, ...buttons);
    this.activation = button("activation", "Activation norm", "Show how strongly the last layer responds (Esc)", () =>
      this.compareWith(""),
    );
    this.cosine = button("cosine", "Cosine", "Show the similarity to a point or RoI. Click one", () =>
      this.compareWith(this.before || this.someTarget()),
    );
    this.classToken = button(
      "class",
      "Class token",
      "Show where the class token looks, of encoders that have one",
      () => this.compareWith(CLASS_TOKEN),
    );
    this.layers = LAYERS.map(([name, text]) => button(name, text, "", () => this.change({ layer: name })));
    this.shapes = [
      button("smooth", "Smooth", "Interpolate between cells", () => this.change({ cells: false })),
      button("cells", "Cells", "Show the grid of the encoder's map", () => this.change({ cells: true })),
    ];
    this.scales = [
      button("absolute", "0 to 1", "Use one scale for all photos and encoders", () => this.change({ own: false })),
      button("own", "Own range", "Scale each map from its minimum to its maximum", () => this.change({ own: true })),
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
      choice("Map", this.activation, this.classToken, this.cosine),
      this.scaleChoice,
      choice("Layer", ...this.layers),
      el("label", { class: "slider" }, el("span", { text: "Opacity" }), this.opacity),
      choice("Shape", ...this.shapes),
      this.save.root,
      el("div", { class: "legend" }, el("span", { class: "legend-scale" }, this.low, this.bar, this.high), this.label),
    );
  }

  // -- words -----------------------------------------------------------------------------------------

  method() {
    return methodOf(this.look, this.data);
  }

  // -- data ------------------------------------------------------------------------------------------

  /** @param {AttentionPayload} data */
  setData(data) {
    if (!data || data === this.data) return; // a theme change runs the entry point again
    const { look, ...drawn } = data;
    const drawing = JSON.stringify(drawn);
    this.data = data;
    if (this.echo.isNews(look)) this.look = { ...look };
    if (drawing !== this.drawing && this.drawing && JSON.parse(this.drawing).query.id !== data.query.id) {
      clearTimeout(this.resting);
      this.look = { ...look };
      this.drawing = ""; // what is drawn besides the look
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

  /** @param {Column} column */
  columnElement({ encoder, panels }) {
    const [query, ...neighbors] = panels;
    const notes = encoder.note.split(", ").map((note) => el("span", { class: `note ${note}`, text: note }));
    return el(
      "section",
      { class: "column", "aria-label": encoder.name },
      el(
        "h3",
        {},
        el("span", { class: "name", text: encoder.name, title: encoder.name }),
        ...(encoder.note ? notes : []),
      ),
      query.frame,
      el("div", { class: "caption", text: query.photo.name, title: query.photo.name }),
      el("div", { class: "neighbors" }, ...neighbors.map((panel, at) => this.neighborElement(panel, at))),
    );
  }

  /**
   * @param {Panel} panel
   * @param {number} at
   */
  neighborElement(panel, at) {
    const said = `${at + 1} · cos ${panel.photo.similarity.toFixed(2)}`;
    const open = () => this.send("open", panel.photo.id);
    const title = `Use ${panel.photo.name} as the query`;
    return el(
      "div",
      { class: "near" },
      panel.frame,
      el("button", {
        type: "button",
        class: "caption",
        title,
        "aria-label": `${said}, ${title}`,
        text: said,
        onclick: open,
      }),
    );
  }

  /**
   * @param {number[]} box
   * @param {number} at
   */
  roiButton(box, at) {
    const { query, crop_url } = this.data;
    const to = `${query.id}-${box.join("-")}`;
    const title = `RoI ${at + 1}: ${box[2]} × ${box[3]} px`;
    const onclick = () => this.compareWith(to);
    return el(
      "button",
      { type: "button", class: "roi", "data-to": to, title, "aria-label": title, onclick },
      picture(cropUrl(crop_url, query.id, box), { loading: "lazy" }),
    );
  }

  // -- painting --------------------------------------------------------------------------------------

  /**
   * @param {number} encoder
   * @param {number} image
   */
  mapUrl(encoder, image) {
    return mapUrl(this.data.attention_url, encoder, image, this.look);
  }

  /** @param {number} opacity */
  fade(opacity) {
    this.root.style.setProperty("--opacity", String(this.look.layer === "map" ? 1 : opacity));
  }

  paint() {
    const { to, opacity, layer, cells, own } = this.look;
    this.fade(opacity);
    this.opacity.value = String(Math.round(opacity * 100));
    this.opacity.disabled = layer !== "overlay";
    for (const [name] of LAYERS) this.root.classList.toggle(`only-${name}`, name === layer);
    this.root.classList.toggle("cells", cells);
    /** @type {(button: Element, on: boolean) => void} */
    const press = (button, on) => button.setAttribute("aria-pressed", String(on));
    press(this.activation, !to);
    press(this.cosine, Boolean(targetOf(to)));
    press(this.classToken, to === CLASS_TOKEN);
    this.classToken.hidden = to !== CLASS_TOKEN && !this.data.encoders.some((encoder) => encoder.class_token);
    this.layers.forEach((button) => press(button, button.dataset.name === layer));
    this.shapes.forEach((button) => press(button, (button.dataset.name === "cells") === cells));
    this.scales.forEach((button) => press(button, (button.dataset.name === "own") === own));
    this.scaleChoice.hidden = !targetOf(to);
    for (const button of this.roiStrip.querySelectorAll(".roi")) press(button, button.getAttribute("data-to") === to);
    const { low, high, said } = scaleOf(this.look);
    this.low.textContent = low;
    this.high.textContent = high;
    this.bar.style.background = gradient(this.data.colors);
    this.label.textContent = `${this.method()}: ${said}`;
    for (const column of this.columns) for (const panel of column.panels) panel.paint(this.look);
  }

  // -- actions ---------------------------------------------------------------------------------------

  someTarget() {
    const { query, rois } = this.data;
    const middle = [query.width >> 1, query.height >> 1];
    return [query.id, ...(rois[0] ?? middle)].join("-");
  }

  /** @param {string} to */
  compareWith(to) {
    if (targetOf(this.look.to) && !targetOf(to)) this.before = this.look.to;
    this.change({ to });
  }

  /** @param {Partial<AttentionLook>} some */
  change(some) {
    this.look = { ...this.look, ...some };
    this.paint();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.echo.tell(this.look);
      this.send("look", this.look);
    }, REST);
  }

  // -- what is saved, as SaveMenu asks for it --------------------------------------------------------

  picture() {
    return columnsDrawn(this);
  }

  captionLines() {
    return captionOf(this.look, this.data);
  }

  fileName() {
    return `attention-${fileStem(this.data.query)}`;
  }

  link() {
    const { to, opacity, layer, cells, own } = this.look;
    const alpha = String(Math.round(opacity * 100));
    return lastingLink({ ...this.data.place, to, alpha, layer, cells: cells ? "1" : "", own: own ? "1" : "" });
  }

  // -- keys ------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
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
