// @ts-check
// Why mining chose the selected pair, or did not: the numbers that decide, and which cells answer to each RoI.

import { el, picture, svg } from "../../components/dom.js";

/** @import { Answering, PairFact, PairPayload } from "./component_types.js" */
/** @import { PairView } from "./view.js" */

export class Reasons {
  /** @param {PairView} view */
  constructor(view) {
    this.view = view;
    this.facts = el("dl", { class: "facts" });
    this.cells = el("div", { class: "answering" });
    // The server computes the maps: they are requested only while they are shown.
    this.more = el(
      "details",
      { ontoggle: () => this.fillCells() },
      el("summary", { text: "Which cells answer?" }),
      this.cells,
    );
    this.root = el(
      "section",
      { class: "reasons", "aria-label": "Why this pair?", hidden: true },
      el("header", {}, el("strong", { text: "Why this pair?" })),
      this.facts,
      this.more,
    );
  }

  /** @param {PairPayload} data */
  setData({ reasons }) {
    this.data = reasons;
    this.facts.replaceChildren(...(reasons?.facts ?? []).map((fact) => this.fact(fact)));
    this.more.hidden = !reasons?.cells.length;
    this.cells.replaceChildren();
    this.fillCells();
    this.paint();
  }

  // The numbers of another pair are hidden until those of the selected one arrive.
  paint() {
    const { selected } = this.view;
    this.root.hidden = !this.data || selected?.q !== this.data.q || selected.k !== this.data.k;
  }

  /** @param {PairFact} fact */
  fact({ name, value, meaning }) {
    return el("div", { title: meaning }, el("dt", { text: name }), el("dd", { text: value }));
  }

  fillCells() {
    if (!this.data || !this.more.open || this.cells.childElementCount) return;
    this.cells.replaceChildren(...this.data.cells.map((answering) => this.map(answering)));
  }

  /** @param {Answering} answering */
  map({ title, photo, heat, width, height, box }) {
    const [x, y, w, h] = box;
    const shape = { x, y, width: w, height: h };
    return el(
      "figure",
      {},
      el(
        "div",
        { class: "answering-photo", style: `aspect-ratio: ${width} / ${height}` },
        picture(photo, { alt: "" }),
        picture(heat, { class: "heat", alt: title }),
        svg(
          "svg",
          { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
          svg("rect", { ...shape, class: "halo" }),
          svg("rect", { ...shape, class: "line" }),
        ),
      ),
      el("figcaption", { class: "muted", text: title }),
    );
  }
}
