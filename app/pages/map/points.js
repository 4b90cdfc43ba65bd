// @ts-check
// The points as flat arrays: fetching of columns, colours, and search by position.

import {
  BLUE,
  GREEN,
  GREY,
  ORANGE,
  PURPLE,
  rgb,
  SKY,
  VERMILION,
  VIRIDIS_LEVELS,
  YELLOW,
} from "../../components/colours.js";
import { clamp } from "../../components/numbers.js";

/** @typedef {Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Int16Array<ArrayBuffer> | Uint16Array<ArrayBuffer>} Numbers */

/**
 * A column of numbers: indices of labels if there are labels, else values between low and high.
 * @typedef {object} Column
 * @property {Numbers} values
 * @property {string[]} [labels] the most frequent first; "none" at the end stands for points without a label
 * @property {number[]} [counts] of each label
 * @property {number} [low]
 * @property {number} [high]
 * @property {number} [without] number of points without a value
 */

// Colours of labels, the most frequent first. The black of Okabe and Ito is replaced by the colour of text, which is
// visible on a dark background.
const LABELS = [BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW];
export const ACCENT = VERMILION; // of an isolated label that is grey otherwise

/**
 * Unpacks a column from the server: the header's length, the header, and an array of the header's type.
 * @param {ArrayBuffer} body
 * @returns {Column}
 */
export function unpacked(body) {
  const length = new DataView(body).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, length)));
  /** @type {Record<string, new (body: ArrayBuffer, from: number) => Numbers>} */
  const types = { float32: Float32Array, int32: Int32Array, int16: Int16Array, uint16: Uint16Array };
  return { ...header, values: new types[header.dtype](body, 4 + length) };
}

/** @param {string} url */
export async function fetchColumn(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(await answer.text());
  return unpacked(await answer.arrayBuffer());
}

/**
 * Returns a colour per label: the most frequent ones have their own; all others, and "none", are grey.
 * @param {Column} column
 * @param {string} ink the colour of text
 */
export function labelColours(column, ink) {
  const palette = [...LABELS, ink];
  const nameless = column.labels.at(-1) === "none";
  return column.labels.map((_, at) => (nameless && at === column.labels.length - 1 ? GREY : (palette[at] ?? GREY)));
}

// Rank of a point, the last of its four bytes. Higher ranks are drawn on top.
export const FAINT = 0; // not selected or isolated
const PALE = 128; // without a value
export const COLOURED = 255;
export const RANKS = [
  [FAINT, 0.12],
  [PALE, 0.5],
  [COLOURED, 0.88],
]; // and opacity

/**
 * Returns the bytes r g b and rank of each point.
 * @param {Column} column
 * @param {string} ink the colour of text
 * @param {(i: number) => boolean} bright whether a point is highlighted
 */
export function paintPoints(column, ink, bright) {
  const count = column.values.length;
  const bytes = new Uint8Array(count * 4);
  const table = column.labels ? labelColours(column, ink).map(rgb) : VIRIDIS_LEVELS;
  const span = column.high - column.low || 1;
  const grey = rgb(GREY);
  for (let i = 0; i < count; i++) {
    const value = column.values[i];
    const at = column.labels ? value : Math.round(clamp((value - column.low) / span, 0, 1) * 255);
    const [r, g, b] = table[at] ?? grey; // NaN: not known
    const known = table[at] && !(column.labels && r === grey[0] && g === grey[1]);
    bytes[4 * i] = r;
    bytes[4 * i + 1] = g;
    bytes[4 * i + 2] = b;
    bytes[4 * i + 3] = bright(i) ? (known ? COLOURED : PALE) : FAINT;
  }
  return bytes;
}

// Points in a grid of cells over [-1, 1]², for a fast search.
export class Grid {
  /**
   * @param {ArrayLike<number>} places x and y of each point
   * @param {number} [side] cells across
   */
  constructor(places, side = 256) {
    this.places = places;
    this.side = side;
    const count = places.length / 2;
    const cell = new Int32Array(count);
    this.starts = new Int32Array(side * side + 1);
    for (let i = 0; i < count; i++) {
      cell[i] = this.row(places[2 * i + 1]) * side + this.row(places[2 * i]);
      this.starts[cell[i] + 1]++;
    }
    for (let at = 0; at < side * side; at++) this.starts[at + 1] += this.starts[at];
    const next = this.starts.slice();
    this.order = new Int32Array(count);
    for (let i = 0; i < count; i++) this.order[next[cell[i]]++] = i;
  }

  /** @param {number} value */
  row(value) {
    return clamp(Math.floor(((value + 1) / 2) * this.side), 0, this.side - 1);
  }

  /**
   * Yields the indices of the points in the cells that touch a rectangle.
   * @param {number} left
   * @param {number} bottom
   * @param {number} right
   * @param {number} top
   */
  *within(left, bottom, right, top) {
    for (let row = this.row(bottom); row <= this.row(top); row++) {
      const from = this.starts[row * this.side + this.row(left)];
      const to = this.starts[row * this.side + this.row(right) + 1];
      for (let at = from; at < to; at++) yield this.order[at];
    }
  }

  /**
   * Returns the nearest point within the radius, or -1.
   * @param {number} x
   * @param {number} y
   * @param {number} radius
   * @param {(i: number) => boolean} wanted
   */
  nearest(x, y, radius, wanted) {
    let [best, least] = [-1, radius * radius];
    for (const i of this.within(x - radius, y - radius, x + radius, y + radius)) {
      const far = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
      if (far <= least && wanted(i)) [best, least] = [i, far];
    }
    return best;
  }

  /**
   * Returns the points inside a closed line: a ray to the right crosses it an odd number of times.
   * @param {number[][]} corners
   * @param {(i: number) => boolean} wanted
   */
  inside(corners, wanted) {
    const xs = corners.map(([x]) => x);
    const ys = corners.map(([, y]) => y);
    const found = [];
    for (const i of this.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys))) {
      if (!wanted(i)) continue;
      const [x, y] = [this.places[2 * i], this.places[2 * i + 1]];
      let odd = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const [ax, ay] = corners[a];
        const [bx, by] = corners[b];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
      }
      if (odd) found.push(i);
    }
    return found.sort((a, b) => a - b);
  }
}
