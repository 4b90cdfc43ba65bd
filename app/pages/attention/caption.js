// @ts-check
// Captions of the maps.

import { plural } from "../../components/words.js";
import { CLASS_TOKEN, targetOf } from "./target.js";

/** @import { AttentionPayload, AttentionLook } from "./component_types.js" */

/** @typedef {Pick<AttentionPayload, "query" | "neighbors" | "neighbors_by" | "encoders">} Shown */

/**
 * @param {AttentionLook} look
 * @param {Pick<Shown, "query" | "neighbors">} photos
 */
export function methodOf(look, { query, neighbors }) {
  const target = targetOf(look.to);
  if (look.to === CLASS_TOKEN) return "attention of the class token (mean of the heads of the layer that is used)";
  if (!target) return "activation norm of the last layer (L2 over channels)";
  const { image, x, y, width, height } = target;
  const where = width ? `the RoI of ${width} × ${height} px at (${x}, ${y})` : `the point (${x}, ${y})`;
  const name = [query, ...neighbors].find((photo) => photo.id === image)?.name ?? `photo ${image}`;
  return `cosine of the last layer to ${where} of ${name}`;
}

/** @param {Pick<AttentionLook, "to" | "own">} look */
export const scaleOf = ({ to, own }) =>
  targetOf(to) && !own
    ? { low: "0", high: "1", said: "one scale for all maps; values below 0 are shown as 0" }
    : { low: "min", high: "max", said: "each map has its own scale" };

/**
 * @param {AttentionLook} look
 * @param {Shown} shown
 */
export function captionOf(look, shown) {
  const { query, neighbors, neighbors_by, encoders } = shown;
  const by = encoders.map(({ name, note }) => (note ? `${name} (${note})` : name)).join("; ");
  const { low, high, said } = scaleOf(look);
  const layers = {
    overlay: `map at ${Math.round(look.opacity * 100)} % over the photo`,
    photo: "photo alone",
    map: "map alone",
  };
  const near = neighbors.length ? ` Below: ${plural(neighbors.length, "neighbour")} from the set ${neighbors_by}.` : "";
  return [
    `Photo: ${query.name}.${near}`,
    `Encoders: ${by}.`,
    `Map: ${methodOf(look, shown)}; ${look.cells ? "cells" : "smooth"}; ${layers[look.layer]}.`,
    `Scale: ${low} to ${high}, ${said}.`,
  ];
}
