// @ts-check
// Boxes that a person draws: whole pixels, inside the photo.

import { clamp } from "../../components/numbers.js";

/** @typedef {{ width: number, height: number }} Size of the photo, in its own pixels */

const STEP = 0.02; // of the longer side of the photo, for a key

/**
 * Returns the box between two points, of one pixel at least.
 * @param {number[]} from x, y
 * @param {number[]} to
 * @param {Size} size
 */
export function boxBetween(from, to, { width, height }) {
  /** @type {(a: number, b: number, limit: number) => [number, number]} */
  const along = (a, b, limit) => {
    const low = clamp(Math.floor(Math.min(a, b)), 0, limit - 1);
    return [low, clamp(Math.ceil(Math.max(a, b)), low + 1, limit) - low];
  };
  const [x, w] = along(from[0], to[0], width);
  const [y, h] = along(from[1], to[1], height);
  return [x, y, w, h];
}

/**
 * Returns a box after an arrow key: moved, or resized at its lower right corner.
 * @param {number[]} box
 * @param {string} key
 * @param {boolean} resize
 * @param {Size} size
 */
export function boxAfter([x, y, w, h], key, resize, { width, height }) {
  const step = Math.max(1, Math.round(STEP * Math.max(width, height)));
  const dx = { ArrowLeft: -step, ArrowRight: step }[key] ?? 0;
  const dy = { ArrowUp: -step, ArrowDown: step }[key] ?? 0;
  if (resize) return [x, y, clamp(w + dx, 1, width - x), clamp(h + dy, 1, height - y)];
  return [clamp(x + dx, 0, width - w), clamp(y + dy, 0, height - h), w, h];
}
