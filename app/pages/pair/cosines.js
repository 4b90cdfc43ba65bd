// @ts-check
// The matrix of cosines of all RoIs.

/** @import { Matrix as PackedMatrix } from "./component_types.js" */

/**
 * Unpacks cosines from the server: int16 in ten-thousandths, row by row, in base64.
 * @param {PackedMatrix} matrix
 */
export function unpacked({ rows, columns, values }) {
  const bytes = Uint8Array.from(atob(values), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const cosines = Float32Array.from({ length: rows * columns }, (_, i) => view.getInt16(2 * i, true) / 10000);
  return { rows, columns, cosines };
}

/**
 * Scales values from their minimum to their maximum to 256 levels.
 * @param {Float32Array} values
 */
export function levelsOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const levels = Array.from(values, (value) => (high > low ? Math.round(((value - low) / (high - low)) * 255) : 255));
  return { low, high, levels };
}
