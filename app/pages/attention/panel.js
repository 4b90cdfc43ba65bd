// @ts-check
// One photo under one encoder's map. A click reports a point in the photo's own pixels.

import { el, svg } from "../../components/dom.js";
import { clamp } from "../../components/numbers.js";
import { answerTo } from "../../components/urls.js";
import { targetOf } from "./target.js";

/** @import { EncoderColumn, AttentionLook, PhotoPanel as Photo } from "./component_types.js" */
/** @import { AttentionView } from "./view.js" */

export class Panel {
  /**
   * @param {AttentionView} view
   * @param {EncoderColumn} encoder
   * @param {Photo} photo
   * @param {"query" | "neighbor"} role
   */
  constructor(view, encoder, photo, role) {
    this.view = view;
    this.encoder = encoder;
    this.photo = photo;
    this.role = role;
    this.image = el("img", { class: "photo", alt: "", draggable: "false", decoding: "async" });
    this.heat = el("img", { class: "heat", alt: "", draggable: "false", decoding: "async" });
    const { width, height } = photo;
    this.marks = svg("svg", { class: "marks", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    this.wanted = ""; // address of the map
    this.problem = el("span", { class: "problem", role: "status", hidden: true });
    this.frame = el(
      "div",
      { class: `panel ${role}`, role: "img", style: `--ratio: ${width / height}` },
      this.image,
      this.heat,
      this.marks,
      this.problem,
    );
    this.frame.onclick = (event) => this.click(event);
    this.image.onload = () => this.image.classList.remove("broken");
    this.image.onerror = () => {
      this.image.classList.add("broken");
      this.explain(photo.url, "");
    };
    this.heat.onload = () => this.arrived(true);
    this.heat.onerror = () => {
      this.arrived(false);
      if (!this.image.classList.contains("broken")) this.explain(this.wanted, "No map: ");
    };
    this.image.src = photo.url;
  }

  /**
   * Shows the server's reason for refusing a picture; an <img> does not show it.
   * @param {string} url
   * @param {string} before
   */
  async explain(url, before) {
    const answer = await answerTo(url);
    const said = answer && !answer.ok ? await answer.text() : "cannot load the picture";
    this.problem.textContent = `${before}${said}`;
    this.problem.hidden = false;
  }

  /** @param {boolean} shown */
  arrived(shown) {
    this.heat.hidden = !shown;
    this.frame.classList.remove("waiting");
  }

  /** @param {MouseEvent} event */
  click(event) {
    const bounds = this.frame.getBoundingClientRect();
    const { id, width, height } = this.photo;
    const x = clamp(Math.floor(((event.clientX - bounds.left) / bounds.width) * width), 0, width - 1);
    const y = clamp(Math.floor(((event.clientY - bounds.top) / bounds.height) * height), 0, height - 1);
    this.view.compareWith(`${id}-${x}-${y}`);
  }

  /** @param {AttentionLook} look */
  paint(look) {
    const url = this.view.mapUrl(this.encoder.id, this.photo.id);
    if (url !== this.wanted) {
      this.wanted = url;
      this.problem.hidden = !this.image.classList.contains("broken");
      this.frame.classList.add("waiting");
      this.heat.src = url;
    }
    this.frame.setAttribute("aria-label", `${this.photo.name}: ${this.view.method()}, by ${this.encoder.name}`);
    this.marks.replaceChildren(...targetMarks(look.to, this.photo));
  }
}

/**
 * Outlines the target point or RoI if it lies in this photo: light on dark, to stand out on any picture.
 * @param {string} to
 * @param {Photo} photo
 */
export function targetMarks(to, photo) {
  const target = targetOf(to);
  if (target?.image !== photo.id) return [];
  const { x, y, width, height } = target;
  const unit = Math.max(photo.width, photo.height) / 100;
  /** @type {(stroke: string, thick: number) => SVGElement} */
  const shape = (stroke, thick) =>
    width
      ? svg("rect", { x, y, width, height, fill: "none", stroke, "stroke-width": thick * unit })
      : svg("circle", { cx: x, cy: y, r: 1.6 * unit, fill: "none", stroke, "stroke-width": thick * unit });
  return [shape("#000", 0.9), shape("#fff", 0.45)];
}
