// @ts-check
// Two photos side by side in one SVG, with boxes and links between them; and a small curve of the similarity of
// the best pair. Both are redrawn completely: a checkpoint has only a few pairs.

import { PAIRS } from "../../components/colours.js";
import { fill, svg } from "../../components/dom.js";
import { clamp } from "../../components/numbers.js";

/** @import { Checkpoint, Couple, ProbeMatch } from "./probe_view_types.js" */

const GAP = 70;
const TALLEST = 420;
const COLOURS = PAIRS.slice(0, 6); // a checkpoint has a handful of pairs

/** @param {number} n of a pair, the most similar first */
export const colourOf = (n) => COLOURS[n % COLOURS.length].color;

export class ProbeStage {
  constructor() {
    this.photos = [0, 1].map(() => svg("image", { preserveAspectRatio: "none" }));
    this.layer = svg("g");
    this.root = svg("svg", { class: "stage", role: "img" }, ...this.photos, this.layer);
  }

  /**
   * @param {Couple} couple
   * @param {number} at index of a checkpoint
   * @param {boolean} showOwn
   * @param {number} width
   */
  draw(couple, at, showOwn, width) {
    const sides = [couple.query, couple.neighbor];
    const ratios = sides.map((photo) => photo.width / photo.height);
    const height = Math.min(TALLEST, (width - GAP) / (ratios[0] + ratios[1]));
    const start = Math.max(0, (width - GAP - height * (ratios[0] + ratios[1])) / 2);
    const lefts = [start, start + height * ratios[0] + GAP];
    sides.forEach((photo, i) => {
      const image = this.photos[i];
      if (image.getAttribute("href") !== photo.url) image.setAttribute("href", photo.url);
      fill(image, { x: lefts[i], y: 0, width: height * ratios[i], height });
    });
    fill(this.root, { width, height });
    /** @type {(box: number[], i: number) => number[]} */
    const place = (box, i) => {
      const scale = height / sides[i].height;
      return [lefts[i] + box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale];
    };
    const found = couple.found[at];
    const nodes = showOwn ? couple.own.map((pair) => this.pair(pair, place, "own", "#ffffff")) : [];
    found.forEach((pair, n) => nodes.push(this.pair(pair, place, "found", colourOf(n))));
    this.layer.replaceChildren(...nodes.reverse());
    const said = found.map((pair) => pair.similarity.toFixed(3)).join(", ") || "none";
    this.root.setAttribute("aria-label", `${couple.query.name} and ${couple.neighbor.name}; pairs: ${said}`);
  }

  /**
   * @param {ProbeMatch} pair
   * @param {(box: number[], i: number) => number[]} place
   * @param {string} name
   * @param {string} color
   */
  pair(pair, place, name, color) {
    const [q, k] = [place(pair.q, 0), place(pair.k, 1)];
    /** @type {(part: string, box: number[]) => SVGElement} */
    const rect = (part, [x, y, width, height]) => svg("rect", { class: part, x, y, width, height });
    const [x1, y1, x2, y2] = [q[0] + q[2], q[1] + q[3] / 2, k[0], k[1] + k[3] / 2];
    const bend = Math.max(20, (x2 - x1) * 0.4);
    const d = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
    const parts = ["halo", "stroke"].flatMap((part) => [rect(part, q), rect(part, k), svg("path", { class: part, d })]);
    const group = svg("g", { class: name, "data-q": pair.q.join(" "), "data-k": pair.k.join(" ") }, ...parts);
    group.style.setProperty("--c", color);
    return group;
  }
}

export class ProbeCurve {
  /** @param {(at: number) => void} onPick */
  constructor(onPick) {
    /** @type {((pixel: number) => number) | null} */
    this.at = null; // index of the checkpoint at a pixel
    this.root = svg("svg", { class: "trend", height: 96, role: "img" });
    this.root.onpointerdown = (event) => {
      const x = event.clientX - this.root.getBoundingClientRect().left;
      if (this.at) onPick(this.at(x));
    };
  }

  /**
   * @param {Couple} couple
   * @param {Checkpoint[]} checkpoints
   * @param {number} at index of a checkpoint
   * @param {number} width
   */
  draw(couple, checkpoints, at, width) {
    const best = couple.found.map((pairs) => pairs[0]?.similarity ?? null);
    const known = best.filter((value) => value !== null);
    const own = couple.own[0]?.similarity;
    const [low, high] = [Math.min(...known, own ?? Infinity), Math.max(...known, own ?? -Infinity)];
    const room = (high - low) * 0.1 || 0.05;
    const [left, right, top, bottom] = [44, 12, 6, 20];
    const last = Math.max(1, checkpoints.length - 1);
    /** @param {number} i */
    const x = (i) => left + (i / last) * (width - left - right);
    /** @param {number} value */
    const y = (value) => top + (1 - (value - low + room) / (high - low + 2 * room)) * (96 - top - bottom);
    this.at = (pixel) => clamp(Math.round(((pixel - left) / (width - left - right)) * last), 0, checkpoints.length - 1);
    const points = best.flatMap((value, i) => (value === null ? [] : [`${x(i)} ${y(value)}`]));
    /** @type {(value: number, at: number) => SVGElement} */
    const label = (value, at) => svg("text", { x: left - 6, y: at + 4, "text-anchor": "end", text: value.toFixed(3) });
    const nodes = [
      label(low, y(low)),
      high > low ? label(high, y(high)) : null,
      svg("text", { x: left, y: 92, text: `epoch ${checkpoints[0].epoch}` }),
      svg("text", { x: width - right, y: 92, "text-anchor": "end", text: `epoch ${checkpoints.at(-1).epoch}` }),
      svg("path", { class: "line", d: `M${points.join("L")}` }),
      svg("line", { class: "now", x1: x(at), x2: x(at), y1: top, y2: 96 - bottom }),
    ];
    if (own !== undefined)
      nodes.push(svg("line", { class: "set", x1: left, x2: width - right, y1: y(own), y2: y(own) }));
    if (best[at] !== null) nodes.push(svg("circle", { cx: x(at), cy: y(best[at]), r: 4 }));
    fill(this.root, { width });
    this.root.setAttribute("aria-label", `Similarity of the best pair by epoch, now ${best[at]?.toFixed(3) ?? "none"}`);
    this.root.replaceChildren(...nodes.filter(Boolean));
  }
}
