// @ts-check
// Where the boxes of a lineage are, and what belongs together.

import { clamp } from "../../components/numbers.js";

/** @typedef {{ width: number, layer: number, title: number, facts: number }} Size of a box, of a layer; letters */

export const HEIGHT = 46;
export const EDGE = 12; // room around the drawing
export const TEXT = 35; // where words begin in a box
const ROW = 60;
const GAP = 34; // between layers, at least
const NARROWEST = 156; // box
const WIDEST = 250;
const LETTER = { title: 7, facts: 5.7 }; // mean width

/**
 * What boxes are like when so many layers share the room; the drawing scrolls when that is too little.
 * @param {number} room in pixels
 * @param {number} layers
 * @returns {Size}
 */
export function sizeFor(room, layers) {
  const width = clamp((room - 2 * EDGE - (layers - 1) * GAP) / layers, NARROWEST, WIDEST);
  /** @param {keyof typeof LETTER} kind */
  const letters = (kind) => Math.floor((width - TEXT - 8) / LETTER[kind]);
  return { width, layer: width + GAP, title: letters("title"), facts: letters("facts") };
}

/**
 * @param {{ layer: number }} node
 * @param {Size} size
 */
export const left = (node, size) => EDGE + node.layer * size.layer;

/** @param {{ row: number }} node */
export const top = (node) => EDGE + node.row * ROW;

/**
 * All that is reached from a node along edges, itself included.
 * @param {string} start
 * @param {[string, string][]} edges
 * @param {0 | 1} from the end at which an edge is entered
 */
function reach(start, edges, from) {
  const found = new Set([start]);
  for (const at of found) for (const edge of edges) if (edge[from] === at) found.add(edge[1 - from]);
  return found;
}

/**
 * What a node comes from and what came from it.
 * @param {string} name
 * @param {[string, string][]} edges
 */
export const kin = (name, edges) => new Set([...reach(name, edges, 0), ...reach(name, edges, 1)]);
