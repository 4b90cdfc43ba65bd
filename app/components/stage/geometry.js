// @ts-check
// Positions of boxes, links and photos.

import { clamp } from "../numbers.js";

/**
 * @typedef {number[]} Box x, y, width, height in the photo's own pixels
 * @typedef {{ x: number, y: number, width: number, height: number }} Rect in CSS pixels of the stage
 * @typedef {{ left: number, right: number, top: number, bottom: number }} Edges likewise
 */

export const CAPTION = 40; // room above each photo for its two lines of text
const PAIRED_BONUS = 0.25;

/** @param {Box} box */
export const area = ([, , width, height]) => width * height;

/** @param {Box} box */
export const sizeText = (box) => `${Math.round(box[2])} × ${Math.round(box[3])}`;

/**
 * Returns the boxes at a point, the smallest first. Paired boxes count as smaller than they are.
 * @template {{ box: Box, pair?: unknown }} T
 * @param {T[]} records
 * @param {number} x
 * @param {number} y
 * @param {number} slack tolerance
 */
export function boxesAt(records, x, y, slack) {
  /** @param {T} record */
  const rank = ({ box, pair }) => area(box) * (pair ? PAIRED_BONUS : 1);
  return records
    .filter(
      ({ box: [left, top, width, height] }) =>
        x >= left - slack && x <= left + width + slack && y >= top - slack && y <= top + height + slack,
    )
    .sort((a, b) => rank(a) - rank(b));
}

/**
 * Returns the frames of two photos with the aspect ratios a and b.
 * @param {[number, number]} ratios
 * @param {number} width of the stage
 * @param {number} tallest that a photo may be
 * @param {boolean} stacked one below the other
 * @returns {[Rect, Rect]}
 */
export function framesFor([a, b], width, tallest, stacked) {
  if (stacked) {
    /** @param {number} ratio */
    const fit = (ratio) => Math.min(width, tallest * ratio);
    /**
     * @param {number} ratio
     * @param {number} y
     */
    const frame = (ratio, y) => ({ x: (width - fit(ratio)) / 2, y, width: fit(ratio), height: fit(ratio) / ratio });
    const first = frame(a, CAPTION);
    return [first, frame(b, CAPTION + first.height + CAPTION + 16)];
  }
  const height = Math.min(tallest, (width - 28) / (a + b));
  const gap = clamp(width - height * (a + b), 28, 110);
  const x = Math.max(0, (width - height * (a + b) - gap) / 2);
  return [
    { x, y: CAPTION, width: height * a, height },
    { x: x + height * a + gap, y: CAPTION, width: height * b, height },
  ];
}

/**
 * Returns a link between the facing edges of two boxes, so that it does not cross the objects.
 * @param {Edges} from
 * @param {Edges} to
 * @param {boolean} stacked
 * @returns {{ path: string, middle: number[] }}
 */
export function linkBetween(from, to, stacked) {
  /**
   * @param {number} a
   * @param {number} b
   */
  const mean = (a, b) => (a + b) / 2;
  let points;
  if (stacked) {
    const [x1, y1, x2, y2] = [mean(from.left, from.right), from.bottom, mean(to.left, to.right), to.top];
    const bend = Math.max(20, (y2 - y1) * 0.4);
    points = [x1, y1, x1, y1 + bend, x2, y2 - bend, x2, y2];
  } else {
    const [x1, y1, x2, y2] = [from.right, mean(from.top, from.bottom), to.left, mean(to.top, to.bottom)];
    const bend = Math.max(20, (x2 - x1) * 0.4);
    points = [x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2];
  }
  const p = points.map((value) => Math.round(value * 10) / 10);
  const middle = [0, 1].map((axis) => (p[axis] + 3 * p[axis + 2] + 3 * p[axis + 4] + p[axis + 6]) / 8);
  return { middle, path: `M${p[0]} ${p[1]}C${p[2]} ${p[3]} ${p[4]} ${p[5]} ${p[6]} ${p[7]}` };
}

/**
 * Returns the view in which a box fills about half of the frame: zoom, and the visible corner as shares of the photo.
 * @param {Box} box
 * @param {{ width: number, height: number }} size of the photo
 */
export function viewOf(box, { width, height }) {
  const zoom = clamp(0.55 / Math.max(box[2] / width, box[3] / height), 1, 6);
  const centre = [(box[0] + box[2] / 2) / width, (box[1] + box[3] / 2) / height];
  return { zoom, u: centre[0] - 0.5 / zoom, v: centre[1] - 0.5 / zoom };
}
