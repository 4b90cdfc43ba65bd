// @ts-check
// A photo to search with. Pictures are dropped, pasted or chosen; boxes are drawn, or picked among the photo's RoIs.

import { AddressBar } from "../../components/address.js";
import { el, fill, svg } from "../../components/dom.js";
import { entry, numbered } from "../../components/entry.js";
import { MOVES } from "../../components/roving.js";
import { boxesAt } from "../../components/stage/geometry.js";
import { boxAfter, boxBetween } from "./box.js";
import { pictureOf, sent } from "./send.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { ExamplePayload } from "./example_types.js" */

const DRAG_FROM = 4; // CSS pixels
const PAUSE = 400; // ms after the last key before the search begins
const HINT = "Drop a picture here, paste one, or";

export class ExampleView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    /** @type {ExamplePayload | null} */
    this.data = null;
    /** @type {number[] | null} */
    this.box = null;
    /** @type {{ point: number[], client: number[], drawing: boolean } | null} */
    this.press = null;
    this.image = svg("image", { preserveAspectRatio: "none" });
    this.rois = svg("g", { class: "rois" });
    this.outline = svg("g", { class: "drawn" }, svg("rect", { class: "halo" }), svg("rect", { class: "line" }));
    this.svg = svg("svg", { class: "photo", tabindex: "0", role: "application" }, this.image, this.rois, this.outline);
    this.file = el("input", { type: "file", accept: "image/*", class: "file", tabindex: "-1", "aria-hidden": "true" });
    this.choose = el("button", { type: "button", text: "Choose a picture", onclick: () => this.file.click() });
    this.whole = el("button", { type: "button", text: "Whole photo", onclick: () => this.ask(null) });
    this.said = el("span", { class: "said", role: "status" });
    this.hint = el("span", { class: "hint", text: HINT });
    this.tools = el("div", { class: "tools" }, this.hint, this.choose, this.whole, this.file, this.said);
    root.replaceChildren(this.svg, this.tools);
    this.address = new AddressBar(this);
    this.listen();
  }

  // The server writes the photo and the box to the URL; the address bar removes what is empty.
  inAddress() {
    return {};
  }

  fromAddress() {}

  listen() {
    this.file.onchange = () => {
      if (this.file.files.length) this.give(this.file.files[0]);
      this.file.value = "";
    };
    this.root.ondragover = (event) => {
      event.preventDefault();
      this.root.classList.add("over");
    };
    this.root.ondragleave = () => this.root.classList.remove("over");
    this.root.ondrop = (event) => {
      event.preventDefault();
      this.root.classList.remove("over");
      this.take(event.dataTransfer);
    };
    this.onPaste = (/** @type {ClipboardEvent} */ event) => {
      if (this.root.getClientRects().length) this.take(event.clipboardData);
    };
    document.addEventListener("paste", this.onPaste);
    this.svg.onpointerdown = (event) => this.down(event);
    this.svg.onpointermove = (event) => this.move(event);
    this.svg.onpointerup = (event) => this.up(event);
    this.svg.onpointercancel = () => this.cancel();
    this.svg.onkeydown = (event) => this.keyDown(event);
  }

  destroy() {
    clearTimeout(this.timer);
    this.address.destroy();
    document.removeEventListener("paste", this.onPaste);
  }

  /** @param {ExamplePayload | null} data */
  setData(data) {
    if (!data) return;
    this.data = data;
    this.address.writeNow();
    const { photo, rois, can_draw } = data;
    this.svg.toggleAttribute("hidden", !photo);
    this.root.classList.toggle("empty", !photo);
    this.root.classList.toggle("can-draw", can_draw);
    this.hint.hidden = Boolean(photo);
    this.whole.hidden = !photo || data.whole || !can_draw;
    if (!photo) return;
    const { width, height } = photo;
    fill(this.svg, { viewBox: `0 0 ${width} ${height}`, style: `--ratio: ${width / height}` });
    fill(this.image, { width, height });
    if (this.image.getAttribute("href") !== photo.url) this.image.setAttribute("href", photo.url);
    this.rois.replaceChildren(...rois.map(([x, y, w, h]) => svg("rect", { x, y, width: w, height: h })));
    this.show(data.box);
  }

  // -- pictures --------------------------------------------------------------------------------------

  /** @param {DataTransfer} given */
  take(given) {
    const found = pictureOf(given);
    if (found instanceof File) this.give(found);
    else if (found) this.say(found);
  }

  /** @param {File} file */
  async give(file) {
    this.say("Sending the picture …");
    try {
      const name = await sent(file, this.data.send_to, this.data.most);
      this.say("");
      this.send("given", numbered({ name }));
    } catch (problem) {
      this.say(/** @type {Error} */ (problem).message);
    }
  }

  /** @param {string} text */
  say(text) {
    this.said.textContent = text;
  }

  // -- boxes -----------------------------------------------------------------------------------------

  /** @param {number[] | null} box */
  show(box) {
    this.box = box;
    const [x, y, width, height] = box ?? [0, 0, 0, 0];
    for (const rect of this.outline.children) fill(rect, { x, y, width, height });
    const { photo, can_draw } = this.data;
    const keys = can_draw
      ? "Drag to draw a box. Arrow keys move it, with Shift they resize it, N takes the next RoI, W the whole photo."
      : "N takes the next RoI.";
    this.svg.setAttribute("aria-label", `${photo.name}. Box ${x}, ${y}, ${width} × ${height} pixels. ${keys}`);
  }

  /** @param {number[] | null} box */
  ask(box) {
    clearTimeout(this.timer);
    if (box) this.show(box);
    this.send("draw", numbered({ box }));
  }

  /** @param {PointerEvent} event */
  pointOf(event) {
    const { left, top, width, height } = this.svg.getBoundingClientRect();
    const { photo } = this.data;
    return [((event.clientX - left) / width) * photo.width, ((event.clientY - top) / height) * photo.height];
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button !== 0) return;
    this.press = { point: this.pointOf(event), client: [event.clientX, event.clientY], drawing: false };
    this.svg.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (!this.press || !this.data.can_draw) return;
    const [x, y] = this.press.client;
    this.press.drawing ||= Math.hypot(event.clientX - x, event.clientY - y) >= DRAG_FROM;
    if (this.press.drawing) this.show(boxBetween(this.press.point, this.pointOf(event), this.data.photo));
  }

  /** @param {PointerEvent} event */
  up(event) {
    const { press } = this;
    this.press = null;
    if (!press) return;
    if (press.drawing) {
      this.ask(this.box);
      return;
    }
    const records = this.data.rois.map((box) => ({ box }));
    const [x, y] = this.pointOf(event);
    const [hit] = boxesAt(records, x, y, 0);
    if (hit) this.ask(hit.box);
  }

  cancel() {
    this.press = null;
    this.show(this.data.box);
  }

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { rois, can_draw, photo } = this.data;
    const key = event.key.toLowerCase();
    if (key === "escape" && this.press) this.cancel();
    if (key === "w" && can_draw) this.ask(null);
    if (key === "n" && rois.length) {
      const at = rois.findIndex((roi) => roi.every((value, i) => value === this.box?.[i]));
      this.ask(rois[(at + 1) % rois.length]);
    }
    if (!MOVES.has(event.key) || !event.key.startsWith("Arrow") || !can_draw || !this.box) return;
    event.preventDefault();
    this.show(boxAfter(this.box, event.key, event.shiftKey, photo));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(this.box), PAUSE);
  }
}

export default entry(".example", ExampleView);
