// @ts-check
// Display state of a stage: visible pairs, highlighted boxes and links. The pair view has one state, the comparison
// one for each set.

/** @import { NeighborPhoto, ShownPhoto } from "../../pages/pair/component_types.js" */
/** @import { Stage } from "./stage.js" */
/** @import { BoxRecord } from "./side.js" */

/**
 * A pair to draw. `number`: 0 for a pair that is not kept, which has a sign instead.
 * @typedef {object} DrawnPair
 * @property {number} q
 * @property {number} k
 * @property {number} similarity
 * @property {number} number
 * @property {string} color
 * @property {string} halo
 * @property {string} [sign]
 * @property {string} [status] of a comparison
 * @property {string | null} [verdict]
 */

/**
 * Data of a stage.
 * @typedef {object} StageData
 * @property {ShownPhoto} query
 * @property {(Omit<NeighborPhoto, "rank" | "similarity"> & { rank: number | null, similarity: number | null }) | null} neighbor
 * @property {{ side: string, raw: number, text: string } | null} [explained]
 */

/** @typedef {"boxes" | "links" | "rejected" | "attention" | "matrix"} Layer */
/** @typedef {Record<Layer, boolean>} Layers */

/** @type {Layers} */
export const LAYERS_AT_FIRST = { boxes: true, links: true, rejected: false, attention: false, matrix: true };

/**
 * @template {DrawnPair} [P=DrawnPair]
 * @template {StageData} [D=StageData]
 */
export class Looking {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Stage} */
    this.stage = null; // draws it
    /** @type {{ showZoom(): void } | null} */
    this.toolbar = null;
    /** @type {D | null} */
    this.data = null;
    /** @type {P[]} */
    this.pairs = [];
    /** @type {P | null} */
    this.outside = null; // a selected pair that is not kept
    this.layers = { ...LAYERS_AT_FIRST };
    /** @type {number | null} */
    this.threshold = null; // null: every pair
    /** @type {P | null} */
    this.selected = null;
    /** @type {P[]} */
    this.hoverPairs = [];
    /** @type {BoxRecord[]} */
    this.hoverRecords = [];
    /** @type {BoxRecord | null} */
    this.focusRecord = null; // a clicked box whose explanation is open
  }

  width() {
    return this.root.clientWidth;
  }

  // Largest share of the window's height for the photos.
  share() {
    return 0.7;
  }

  drawn() {
    return this.outside ? [this.outside, ...this.pairs] : this.pairs;
  }

  /** @param {P} pair */
  isVisible(pair) {
    return pair === this.outside || this.threshold === null || pair.similarity >= this.threshold;
  }

  visiblePairs() {
    return this.pairs.filter((pair) => this.isVisible(pair));
  }

  /** @param {BoxRecord} record */
  pairsOf(record) {
    if (record.kind === "rejected") return [];
    const index = record.side === "query" ? "q" : "k";
    return this.visiblePairs().filter((pair) => pair[index] === record.index);
  }

  // Returns the highlighted pairs: those under the pointer, else of a clicked box, else the selection.
  hotPairs() {
    if (this.hovering()) return this.hoverPairs;
    if (this.focusRecord) return this.pairsOf(this.focusRecord);
    return this.selected && this.isVisible(this.selected) ? [this.selected] : [];
  }

  hotRecords() {
    if (this.hovering()) return this.hoverRecords;
    return this.focusRecord ? [this.focusRecord, this.blockerOf(this.focusRecord)].filter(Boolean) : [];
  }

  hovering() {
    return this.hoverPairs.length > 0 || this.hoverRecords.length > 0;
  }

  somethingHot() {
    return this.hotPairs().length > 0 || this.hotRecords().length > 0;
  }

  /**
   * Returns the kept box that a rejected one overlaps.
   * @param {BoxRecord} record
   */
  blockerOf(record) {
    const blocker = record.kind === "rejected" ? record.why.blocker : null;
    return blocker === null ? null : this.stage[record.side].kept[blocker];
  }

  /**
   * @param {P[]} pairs
   * @param {BoxRecord[]} records
   */
  hover(pairs, records) {
    /** @type {(a: unknown[], b: unknown[]) => boolean} */
    const same = (a, b) => a.length === b.length && a.every((item, i) => item === b[i]);
    if (same(pairs, this.hoverPairs) && same(records, this.hoverRecords)) return;
    this.hoverPairs = pairs;
    this.hoverRecords = records;
    this.highlight();
  }

  /**
   * Highlights two boxes, one on each side, or their pair.
   * @param {number} q
   * @param {number} k
   */
  hoverBoxes(q, k) {
    const pair = this.drawn().find((candidate) => candidate.q === q && candidate.k === k);
    if (pair) return this.hover([pair], []);
    return this.hover([], [this.stage.query.kept[q], this.stage.neighbor.kept[k]].filter(Boolean));
  }
  // -- overridden by the page's view -----------------------------------------------------------------

  highlight() {}

  /** @param {BoxRecord} _record that was clicked */
  choose(_record) {}

  /** @param {P | null} _pair */
  select(_pair) {}

  clear() {}
}
