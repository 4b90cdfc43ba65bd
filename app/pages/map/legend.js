// @ts-check
// The legend of the colours. A click isolates a label.

import { GREY, gradient, VIRIDIS } from "../../components/colours.js";
import { el } from "../../components/dom.js";
import { ACCENT, labelColours } from "./points.js";

/** @import { MapView } from "./view.js" */

export class Legend {
  /** @param {MapView} view */
  constructor(view) {
    this.view = view;
    this.root = el("div", { class: "legend" });
  }

  paint() {
    const { column } = this.view;
    const said = this.view.colouring();
    const head = [el("b", { text: said?.label ?? "" }), el("span", { class: "muted", text: said?.note ?? "" })];
    if (!column.labels) {
      const digits = column.high - column.low > 5 ? 0 : 2;
      this.root.replaceChildren(
        ...head,
        el("span", { class: "bar", style: `background: ${gradient(VIRIDIS)}` }),
        el(
          "span",
          { class: "ends" },
          el("span", { text: `≤ ${column.low.toFixed(digits)}` }),
          el("span", { text: `≥ ${column.high.toFixed(digits)}` }),
        ),
        el("span", { class: "muted", text: "Range without the outermost 1 % at either end" }),
        column.without
          ? el("span", { class: "muted", text: `Grey: ${column.without.toLocaleString()} without a value` })
          : "",
      );
      return;
    }
    const colours = labelColours(column, this.view.ownInk());
    this.root.replaceChildren(
      ...head,
      el("span", { class: "muted screen", text: "Click to isolate, click again to show all" }),
      el("span", { class: "muted", text: "Grey: rare labels, or no label" }),
      ...column.labels.map((label, at) => this.entry(label, column.counts[at], colours[at])),
    );
  }

  /**
   * @param {string} label
   * @param {number} count
   * @param {string} colour
   */
  entry(label, count, colour) {
    const { only } = this.view.look;
    const on = only.includes(label);
    const toggle = () => this.view.change({ only: on ? only.filter((other) => other !== label) : [...only, label] });
    const swatch = el("span", { class: "swatch", style: `background: ${on && colour === GREY ? ACCENT : colour}` });
    return el(
      "button",
      {
        type: "button",
        class: "entry",
        "aria-pressed": String(on),
        "data-label": label,
        title: label,
        onclick: toggle,
      },
      swatch,
      el("span", { class: "entry-label", text: label }),
      el("span", { class: "muted", text: count.toLocaleString() }),
    );
  }
}
