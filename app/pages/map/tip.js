// @ts-check
// The photo or RoI of the point under the pointer.

import { el, picture } from "../../components/dom.js";
import { clamp } from "../../components/numbers.js";
import { answerTo, cropUrl, filled } from "../../components/urls.js";

/** @import { MapView } from "./view.js" */

const HOVER = 60; // ms over a point before its photo is requested

export class Tip {
  /** @param {MapView} view */
  constructor(view) {
    this.view = view;
    this.root = el("div", { class: "tip", hidden: true });
  }

  hide() {
    clearTimeout(this.waiting);
    this.root.hidden = true;
  }

  /**
   * @param {number} i
   * @param {number} px of the pointer, as py
   * @param {number} py
   */
  show(i, px, py) {
    this.waiting = setTimeout(() => this.draw(i, px, py), HOVER);
  }

  /** @param {number} i */
  valueText(i) {
    const { values, labels } = this.view.column;
    const value = values[i];
    const { label } = this.view.colouring();
    if (labels) return `${label}: ${labels[value]}`;
    return `${label}: ${Number.isNaN(value) ? "none" : Number.isInteger(value) ? value : value.toFixed(3)}`;
  }

  /**
   * @param {number} i
   * @param {number} px
   * @param {number} py
   */
  async draw(i, px, py) {
    const { data, camera, images, boxes } = this.view;
    const image = images[i];
    const box = boxes?.subarray(4 * i, 4 * i + 4);
    const src = box ? cropUrl(data.crop_url, image, box) : filled(data.photo_url, { image });
    const shown = picture(src, {}, () => el("span", { class: "muted", text: "Cannot load the photo." }));
    const name = el("span", { class: "tip-name", text: "…" });
    const size = box ? [el("span", { class: "muted", text: `RoI of ${box[2]} × ${box[3]} px` })] : [];
    this.root.replaceChildren(shown, name, ...size, el("span", { class: "muted", text: this.valueText(i) }));
    this.root.style.left = `${px > camera.width / 2 ? px - 232 : px + 16}px`;
    this.root.style.top = `${clamp(py - 60, 4, Math.max(4, camera.height - 240))}px`;
    this.root.hidden = false;
    const answer = await answerTo(filled(data.about_url, { image }));
    name.textContent = answer?.ok ? (await answer.json()).name : `photo ${image}`;
  }
}
