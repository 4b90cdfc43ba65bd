// @ts-check
// Pairs of a checkpoint beside those of the set.

/** @import { ProbeMatch } from "./probe_view_types.js" */

/** @type {(a: number[], b: number[]) => boolean} */
const sameBox = (a, b) => a.every((value, i) => value === b[i]);

/**
 * Counts the found pairs that are also in the set.
 * @param {Pick<ProbeMatch, "q" | "k">[]} found
 * @param {Pick<ProbeMatch, "q" | "k">[]} own
 */
export const shared = (found, own) =>
  found.filter((pair) => own.some(({ q, k }) => sameBox(pair.q, q) && sameBox(pair.k, k))).length;

/**
 * Returns the checkpoint to show when new ones arrive: the newest if the newest was shown, else the same one.
 * @param {number[]} steps of all checkpoints
 * @param {number | null} step of the one that was shown
 * @param {boolean} following it was the newest
 * @returns {number} index
 */
export function placeAmong(steps, step, following) {
  const kept = steps.indexOf(step);
  return following || kept < 0 ? steps.length - 1 : kept;
}
