// @ts-check
// The similarity matrix: every RoI of the query (rows) with every RoI of the neighbour (columns), as a heat map.

import { gradient, VIRIDIS, VIRIDIS_LEVELS } from "../../components/colours.js";
import { el, fill, svg } from "../../components/dom.js";
import { clamp } from "../../components/numbers.js";
import { levelsOf, unpacked } from "./cosines.js";

/** @import { PairPayload } from "./component_types.js" */
/** @import { PairView } from "./view.js" */

/** @typedef {{ q: number, k: number }} Cell */

const SCALE_NAME = "viridis";
const MATRIX_HEIGHT = 260; // CSS pixels at most
const LARGEST_CELL = 24;
const SMALLEST_MARK = 6;

export class Matrix {
  /** @param {PairView} view */
  constructor(view) {
    this.view = view;
    this.canvas = el("canvas", { class: "cells", tabindex: 0, role: "img" });
    this.bands = svg("g", { class: "bands" });
    this.marks = svg("g", { class: "marks" });
    this.overlay = svg("svg", { class: "matrix-overlay", "aria-hidden": "true" }, this.bands, this.marks);
    this.readout = el("output", { class: "readout" });
    this.size = el("span", { class: "muted" });
    this.low = el("span");
    this.high = el("span");
    const bar = el("span", { class: "legend-bar" });
    bar.style.background = gradient(VIRIDIS);
    const scale = el("span", { class: "legend-scale", title: SCALE_NAME }, this.low, bar, this.high);
    this.root = el(
      "section",
      { class: "matrix", "aria-label": "Similarity matrix" },
      el(
        "header",
        {},
        el("strong", { text: "Similarity" }),
        this.size,
        scale,
        el("span", { class: "muted", text: SCALE_NAME }),
      ),
      el("div", { class: "matrix-field" }, this.canvas, this.overlay),
      this.readout,
    );
    this.canvas.onpointermove = (event) => this.look(this.cellAt(event));
    this.canvas.onpointerleave = () => this.look(null);
    this.canvas.onclick = (event) => this.pick(this.cellAt(event));
    this.canvas.onblur = () => this.look(null);
    this.canvas.onkeydown = (event) => this.keyDown(event);
  }

  /** @param {PairPayload} data */
  setData({ matrix }) {
    this.root.hidden = !matrix;
    /** @type {Cell | null} */
    this.cell = null;
    this.values = matrix ? unpacked(matrix) : null;
    if (!this.values) return;
    const { rows, columns, cosines } = this.values;
    const { low, high, levels } = levelsOf(cosines);
    this.low.textContent = low.toFixed(2);
    this.high.textContent = high.toFixed(2);
    this.size.textContent = `${rows} × ${columns}`;
    this.canvas.setAttribute(
      "aria-label",
      `Similarity of ${rows} query RoIs (rows) with ${columns} neighbour RoIs (columns), from ${low.toFixed(3)} to ` +
        `${high.toFixed(3)}. Arrow keys move, Enter selects a pair; the table lists the kept pairs.`,
    );
    [this.canvas.width, this.canvas.height] = [columns, rows];
    const pixels = new ImageData(columns, rows);
    levels.forEach((level, i) => pixels.data.set([...VIRIDIS_LEVELS[level], 255], 4 * i));
    this.canvas.getContext("2d").putImageData(pixels, 0, 0);
    this.layout();
  }

  layout() {
    const width = this.root.clientWidth;
    if (!this.values || !width) return;
    const { rows, columns } = this.values;
    this.side = Math.min(width / columns, MATRIX_HEIGHT / rows, LARGEST_CELL);
    const [w, h] = [columns * this.side, rows * this.side];
    Object.assign(this.canvas.style, { width: `${w}px`, height: `${h}px` });
    fill(this.overlay, { width: w, height: h, viewBox: `0 0 ${w} ${h}` });
    this.paint();
  }

  /**
   * @param {number} q
   * @param {number} k
   */
  at(q, k) {
    return this.values.cosines[q * this.values.columns + k];
  }

  /**
   * @param {MouseEvent} event
   * @returns {Cell | null}
   */
  cellAt(event) {
    if (!this.values) return null;
    const { rows, columns } = this.values;
    const bounds = this.canvas.getBoundingClientRect();
    const k = Math.floor(((event.clientX - bounds.left) / bounds.width) * columns);
    const q = Math.floor(((event.clientY - bounds.top) / bounds.height) * rows);
    return { q: clamp(q, 0, rows - 1), k: clamp(k, 0, columns - 1) };
  }

  /** @param {Cell | null} cell */
  look(cell) {
    if (cell?.q === this.cell?.q && cell?.k === this.cell?.k) return;
    this.cell = cell;
    if (cell) this.view.hoverBoxes(cell.q, cell.k);
    else this.view.hover([], []);
    this.paint();
  }

  /** @param {Cell | null} cell */
  pick(cell) {
    if (cell) this.view.selectBoxes(cell.q, cell.k, this.at(cell.q, cell.k));
  }

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    /** @type {Record<string, number[]>} */
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const { q, k } = this.cell ?? this.view.selected ?? { q: 0, k: 0 };
    if (event.key === "Enter" || event.key === " ") this.pick({ q, k });
    else if (moves[event.key]) {
      const { rows, columns } = this.values;
      const [down, right] = this.cell ? moves[event.key] : [0, 0];
      this.look({ q: clamp(q + down, 0, rows - 1), k: clamp(k + right, 0, columns - 1) });
    } else return;
    event.preventDefault();
  }

  /**
   * Returns a visible box around a cell, which may be only one pixel large.
   * @param {number} q
   * @param {number} k
   * @param {string} name
   */
  mark(q, k, name) {
    const size = Math.max(this.side, SMALLEST_MARK);
    const [x, y] = [(k + 0.5) * this.side - size / 2, (q + 0.5) * this.side - size / 2];
    return svg("rect", { class: name, x, y, width: size, height: size, "data-q": q, "data-k": k });
  }

  paint() {
    if (!this.values || !this.side) return;
    const { view, side } = this;
    const { rows, columns } = this.values;
    const marks = [];
    for (const pair of view.visiblePairs())
      marks.push(this.mark(pair.q, pair.k, "kept-halo"), this.mark(pair.q, pair.k, "kept"));
    /** @type {SVGElement[]} */
    const bands = [];
    /** @param {number} q */
    const row = (q) =>
      bands.push(svg("rect", { class: "band", x: 0, y: q * side, width: columns * side, height: side }));
    /** @param {number} k */
    const column = (k) =>
      bands.push(svg("rect", { class: "band", x: k * side, y: 0, width: side, height: rows * side }));
    for (const record of view.hotRecords())
      if (record.kind === "candidate") (record.side === "query" ? row : column)(record.index);
    for (const { q, k } of this.cell ? [] : view.hotPairs())
      marks.push(this.mark(q, k, "hot-halo"), this.mark(q, k, "hot"));
    if (this.cell)
      marks.push(this.mark(this.cell.q, this.cell.k, "hot-halo"), this.mark(this.cell.q, this.cell.k, "hot"));
    this.bands.replaceChildren(...bands);
    this.marks.replaceChildren(...marks);
    this.readout.replaceChildren(...this.words());
  }

  words() {
    const cell = this.cell ?? (this.view.hotPairs().length === 1 ? this.view.hotPairs()[0] : null);
    if (!cell) return [el("span", { class: "muted", text: "Rows: query · columns: neighbour · outlined: kept" })];
    const pair = this.view.pairs.find(({ q, k }) => q === cell.q && k === cell.k);
    const what = pair ? `pair ${pair.number}` : "not kept";
    return [
      el("strong", { text: this.at(cell.q, cell.k).toFixed(3) }),
      el("span", { text: ` query RoI ${cell.q + 1} × neighbour RoI ${cell.k + 1} · ${what}` }),
    ];
  }
}
