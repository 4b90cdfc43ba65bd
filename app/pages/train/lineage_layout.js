// @ts-check
// Layout of the boxes of a lineage, and their relatives.

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
 * Returns the size of the boxes for a number of layers. If there is too little room, the drawing scrolls.
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
 * Returns all nodes that are reached from a node along edges, with the node itself.
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
 * Returns the sources and the results of a node, with the node itself.
 * @param {string} name
 * @param {[string, string][]} edges
 */
export const kin = (name, edges) => new Set([...reach(name, edges, 0), ...reach(name, edges, 1)]);
