// @ts-check
// Help for keys and gestures.

import { el, icon } from "../../components/dom.js";

export const KEYS = [
  ["← →", "previous, next query"],
  ["↑ ↓", "previous, next neighbour"],
  ["1 – 9", "select a pair"],
  ["J K", "next, previous pair"],
  ["G X I", "good, wrong, interesting"],
  ["S", "search with the RoI"],
  ["Z", "zoom to the pair"],
  ["0", "reset zoom"],
  ["H", "hold: photos only"],
  ["L R A M", "links, rejected boxes, attention, matrix"],
  ["Esc", "close, deselect"],
];
const GESTURES =
  "Scroll on a photo to zoom, drag to move, double-click to reset. " + "Click again to select the box below.";

export class HelpSheet {
  /** @param {string[][]} keys with what they do */
  constructor(keys = KEYS) {
    const rows = keys.flatMap(([names, text]) => [
      el("dt", {}, ...names.split(" ").map((key) => el(key === "–" ? "span" : "kbd", { text: key }))),
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
    const scope = /** @type {ShadowRoot} */ (this.root.getRootNode());
    if (open) this.before = /** @type {HTMLElement} */ (scope.activeElement);
    this.root.hidden = !open;
    if (open) this.close.focus();
    else this.before?.focus?.();
  }
}
