// @ts-check
// One photo of the stage: a nested <svg> whose viewBox is the visible part in the photo's own pixels. It clips its
// contents; zooming changes only the viewBox.

import { el, fill, svg } from "../dom.js";
import { clamp } from "../numbers.js";
import { answerTo } from "../urls.js";
import { cut } from "../words.js";
import { area, CAPTION, viewOf } from "./geometry.js";

/** @import { RejectedBox } from "../../pages/pair/component_types.js" */
/** @import { Box, Edges, Rect } from "./geometry.js" */
/** @import { DrawnPair, StageData } from "./looking.js" */

/**
 * A box of the stage. `why`: reason of a rejected box; `pair`: sets the colour.
 * @typedef {object} BoxRecord
 * @property {"query" | "neighbor"} side
 * @property {"candidate" | "rejected"} kind
 * @property {Box} box
 * @property {number} index
 * @property {RejectedBox} [why]
 * @property {SVGElement} [node]
 * @property {DrawnPair} [pair]
 */

/** @typedef {{ zoom: number, u: number, v: number }} View top-left corner of the visible part, as shares of the photo */

export const MAX_ZOOM = 16;

/** @param {BoxRecord} record */
function boxElement(record) {
  const [x, y, width, height] = record.box;
  /** @param {string} name */
  const rect = (name) => svg("rect", { class: name, x, y, width, height, rx: 0 });
  return svg(
    "g",
    { class: `box ${record.kind}`, "data-side": record.side, "data-index": record.index },
    rect("halo"),
    rect("line"),
  );
}

export class Side {
  /** @param {"query" | "neighbor"} name */
  constructor(name) {
    this.name = name;
    /** @type {View} */
    this.view = { zoom: 1, u: 0, v: 0 };
    /** @type {BoxRecord[]} */
    this.records = [];
    this.photoImage = svg("image", { class: "photo", preserveAspectRatio: "none" });
    this.attentionImage = svg("image", { class: "attention", preserveAspectRatio: "none" });
    this.rejectedLayer = svg("g", { class: "rejected-layer" });
    this.boxLayer = svg("g", { class: "box-layer" });
    this.ground = svg("rect", { class: "ground" });
    this.message = svg("text", { class: "frame-message", "text-anchor": "middle" });
    this.border = svg("rect", { class: "frame-border" });
    this.inner = svg(
      "svg",
      { class: `frame ${name}`, "data-side": name, role: "img", preserveAspectRatio: "none", overflow: "hidden" },
      this.ground,
      this.photoImage,
      this.attentionImage,
      this.rejectedLayer,
      this.boxLayer,
    );
    this.caption = el("div", { class: "caption" });
    this.photoImage.onload = () => this.setMessage("");
    this.photoImage.onerror = () => this.explain();
    this.attentionImage.onerror = () => this.attentionImage.removeAttribute("href");
  }

  /** Shows the server's reason for refusing the photo; an <image> does not show it. */
  async explain() {
    const { url } = this.photo;
    this.setMessage("cannot load the photo");
    const answer = await answerTo(url);
    if (answer && !answer.ok && this.photo?.url === url) this.setMessage(cut(await answer.text(), 60));
  }

  /** @param {string} text */
  setMessage(text) {
    this.message.textContent = text;
    this.photoImage.classList.toggle("broken", text !== "");
  }

  /** @param {StageData["query" | "neighbor"]} photo */
  setPhoto(photo) {
    const changed = photo?.id !== this.photo?.id || photo?.url !== this.photo?.url;
    this.photo = photo;
    const { width, height } = this.size();
    for (const node of [this.ground, this.photoImage, this.attentionImage]) fill(node, { width, height });
    if (!photo) {
      this.photoImage.removeAttribute("href");
      this.setMessage("no neighbour");
    } else if (changed) {
      this.setMessage("");
      this.photoImage.setAttribute("href", photo.url);
    }
    this.inner.setAttribute("aria-label", photo ? `${this.title()}: ${photo.name}` : "no neighbour");
    this.caption.replaceChildren(
      el("span", { class: "caption-title", text: this.title() }),
      el("span", { class: "caption-name", title: photo?.name, text: photo?.name ?? "" }),
    );
    this.setBoxes(photo);
    return changed;
  }

  title() {
    if (this.name === "query") return "query";
    const neighbor = /** @type {StageData["neighbor"]} */ (this.photo);
    if (neighbor && !neighbor.rank) return "not a neighbour in this set";
    return neighbor ? `neighbour ${neighbor.rank} · cos ${neighbor.similarity.toFixed(2)}` : "neighbour";
  }

  size() {
    return this.photo ?? { width: 400, height: 300 };
  }

  /**
   * Draws large boxes first, so that a small one inside a large one is on top.
   * @param {StageData["query" | "neighbor"]} photo
   */
  setBoxes(photo) {
    /** @type {(kind: BoxRecord["kind"], box: Box, index: number, why?: RejectedBox) => BoxRecord} */
    const make = (kind, box, index, why) => ({ side: this.name, kind, box, index, why });
    this.kept = (photo?.boxes ?? []).map((box, index) => make("candidate", box, index));
    this.rejected = (photo?.rejected ?? []).map((entry, index) => make("rejected", entry.box, index, entry));
    this.records = [...this.rejected, ...this.kept];
    for (const record of this.records) record.node = boxElement(record);
    /** @param {BoxRecord[]} records */
    const nodes = (records) => [...records].sort((a, b) => area(b.box) - area(a.box)).map((record) => record.node);
    this.boxLayer.replaceChildren(...nodes(this.kept));
    // Many candidates are drawn fainter, so that the photo stays visible.
    this.boxLayer.style.setProperty("--quiet", String(clamp(12 / this.kept.length, 0.36, 1)));
    this.rejectedLayer.replaceChildren(...nodes(this.rejected));
  }

  /** @param {Rect} frame */
  place(frame) {
    this.frame = frame;
    for (const node of [this.inner, this.border]) fill(node, { ...frame });
    fill(this.message, { x: frame.x + frame.width / 2, y: frame.y + frame.height / 2 });
    const [left, top, width] = [frame.x, frame.y - CAPTION, frame.width].map((value) => `${value}px`);
    Object.assign(this.caption.style, { left, top, width });
    this.applyView();
  }

  /** @param {View} view */
  setView({ zoom, u, v }) {
    const z = clamp(zoom, 1, MAX_ZOOM);
    this.view = { zoom: z, u: clamp(u, 0, 1 - 1 / z), v: clamp(v, 0, 1 - 1 / z) };
    this.applyView();
  }

  applyView() {
    const { width, height } = this.size();
    const { zoom, u, v } = this.view;
    this.inner.setAttribute("viewBox", `${u * width} ${v * height} ${width / zoom} ${height / zoom}`);
  }

  /** @param {Box} box */
  viewOf(box) {
    return viewOf(box, this.size());
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  toStage(x, y) {
    const { width, height } = this.size();
    const { zoom, u, v } = this.view;
    const { frame } = this;
    return [frame.x + (x / width - u) * zoom * frame.width, frame.y + (y / height - v) * zoom * frame.height];
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  toPhoto(x, y) {
    const { width, height } = this.size();
    const { zoom, u, v } = this.view;
    const { frame } = this;
    return [((x - frame.x) / frame.width / zoom + u) * width, ((y - frame.y) / frame.height / zoom + v) * height];
  }

  /**
   * Returns a box in stage coordinates, clipped to the frame; hidden if it is outside.
   * @param {Box} box
   * @returns {Edges & { hidden: boolean }}
   */
  visibleRect(box) {
    const [left, top] = this.toStage(box[0], box[1]);
    const [right, bottom] = this.toStage(box[0] + box[2], box[1] + box[3]);
    const { x, y, width, height } = this.frame;
    const cut = {
      left: clamp(left, x, x + width),
      right: clamp(right, x, x + width),
      top: clamp(top, y, y + height),
      bottom: clamp(bottom, y, y + height),
    };
    return { ...cut, hidden: right <= x || left >= x + width || bottom <= y || top >= y + height };
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  contains(x, y) {
    const { frame } = this;
    return x >= frame.x && x <= frame.x + frame.width && y >= frame.y && y <= frame.y + frame.height;
  }
}
