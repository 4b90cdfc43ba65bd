// @ts-check
// Display options in the URL: layers and threshold; and names of boxes.

import { LAYERS_AT_FIRST } from "../../components/stage/looking.js";

/** @import { BoxRecord } from "../../components/stage/side.js" */

/** @import { Layers } from "../../components/stage/looking.js" */

/**
 * Returns the active layers; "" for the default.
 * @param {Layers} layers
 */
export function layersText(layers) {
  const names = /** @type {(keyof Layers)[]} */ (Object.keys(layers));
  const usual = names.every((name) => layers[name] === LAYERS_AT_FIRST[name]);
  return usual ? "" : names.filter((name) => layers[name]).join(".") || "none";
}

/**
 * @param {string | null} text
 * @returns {Layers}
 */
export function layersFrom(text) {
  if (text === null) return { ...LAYERS_AT_FIRST };
  const on = text.split(".");
  return /** @type {Layers} */ (
    Object.fromEntries(Object.keys(LAYERS_AT_FIRST).map((name) => [name, on.includes(name)]))
  );
}

/**
 * Returns the minimum similarity, or null.
 * @param {string | null} text
 */
export function thresholdFrom(text) {
  const least = Number.parseFloat(text);
  return Number.isFinite(least) ? least : null;
}

/**
 * Returns the name of a box: "q3" is the query's fourth RoI, "nx12" the neighbour's rejected raw box 12.
 * @param {BoxRecord} record
 */
export const roiName = ({ side, kind, index, why }) => side[0] + (kind === "rejected" ? `x${why.raw}` : index);

/**
 * Parses the name of a box; null if it is invalid.
 * @param {string | null} text
 */
export function roiNamed(text) {
  const found = /^([qn])(x?)(\d+)$/.exec(text ?? "");
  if (!found) return null;
  const [, side, rejected, index] = found;
  return {
    side: /** @type {"query" | "neighbor"} */ (side === "q" ? "query" : "neighbor"),
    rejected: rejected !== "",
    index: Number(index),
  };
}
