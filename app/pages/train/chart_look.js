// @ts-check
// Display options of curves: in the URL, and in the caption of a figure.

/**
 * @typedef {object} Look
 * @property {number} smoothing from 0 to less than 1
 * @property {boolean} byEpoch
 * @property {boolean} log
 * @property {[number, number] | null} range of x, in the unit shown; null: everything
 * @property {Set<number>} hidden ids of runs
 */

/**
 * @param {Look} look
 * @returns {Record<string, string>} "" for a default
 */
export function inAddress({ smoothing, byEpoch, log, range, hidden }) {
  return {
    smooth: smoothing ? String(smoothing) : "",
    unit: byEpoch ? "epoch" : "",
    scale: log ? "log" : "",
    span: range ? range.map((x) => Number(x.toPrecision(6))).join("-") : "",
    off: [...hidden].join("."),
  };
}

/**
 * @param {URLSearchParams} parameters
 * @returns {Look}
 */
export function fromAddress(parameters) {
  const smoothing = Number.parseFloat(parameters.get("smooth"));
  const [from, to] = (parameters.get("span") ?? "").split("-").map(Number.parseFloat);
  return {
    smoothing: smoothing >= 0 && smoothing < 1 ? smoothing : 0,
    byEpoch: parameters.get("unit") === "epoch",
    log: parameters.get("scale") === "log",
    range: from < to ? [from, to] : null, // null if one is not a number
    hidden: new Set((parameters.get("off") ?? "").split(".").map(Number).filter(Boolean)),
  };
}

/**
 * @param {Look} look
 * @param {{ range: [number, number], banded: boolean, off: number[] }} shown range: of x; banded: points of some curve
 * average several values; off: hidden runs
 */
export function captionOf({ smoothing, byEpoch, log }, { range, banded, off }) {
  const [from, to] = range.map((x) => Number(x.toPrecision(4)).toLocaleString("en"));
  const facts = [
    `${byEpoch ? "epoch" : "step"}s ${from} to ${to}`,
    smoothing ? `smoothed by ${smoothing}` : "",
    banded && !smoothing ? "bands: minimum to maximum of the steps that a point averages" : "",
    log ? "logarithmic where possible" : "",
    off.length ? `hidden: ${off.join(", ")}` : "",
  ];
  return `Curves: ${facts.filter(Boolean).join("; ")}.`;
}
