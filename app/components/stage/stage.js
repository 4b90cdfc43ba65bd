// @ts-check
// The stage: both photos, their boxes and the links in one SVG in CSS pixels. Links, labels and number chips are in
// these outer coordinates: they keep their size, and are placed again after each zoom.

import { wordsOn } from "../colours.js";
import { el, fill, svg } from "../dom.js";
import { clamp } from "../numbers.js";
import { plural } from "../words.js";
import { framesFor, linkBetween, sizeText } from "./geometry.js";
import { attachPointer } from "./pointer.js";
import { MAX_ZOOM, Side } from "./side.js";

/** @import { DrawnPair, Looking, StageData } from "./looking.js" */
/** @import { BoxRecord, View } from "./side.js" */

/** @typedef {{ pair: DrawnPair, node: SVGGElement, parts: SVGPathElement[], middle?: number[] }} Link */

const MAX_CHIPS = 12;
const STACK_BELOW = 620;
const RULES = {
  size: "Rejected: too small",
  aspect: "Rejected: too elongated",
  overlap: "Rejected: overlaps a kept box",
  count: "Rejected: beyond the maximum number of RoIs",
};

export class Stage {
  /** @param {Looking} view */
  constructor(view) {
    this.view = view;
    /** @type {Stage[]} */
    this.inStep = [this]; // stages that are zoomed and moved together
    this.query = new Side("query");
    this.neighbor = new Side("neighbor");
    this.linkLayer = svg("g", { class: "link-layer" });
    this.labelLayer = svg("g", { class: "label-layer", "aria-hidden": "true" });
    this.svg = svg("svg", { class: "stage-svg" });
    for (const side of this.sides()) this.svg.append(side.inner, side.border, side.message);
    this.svg.append(this.linkLayer, this.labelLayer);
    this.callout = el("div", { class: "callout", role: "status", hidden: true });
    this.root = el("div", { class: "stage" }, this.svg, this.query.caption, this.neighbor.caption, this.callout);
    attachPointer(this);
  }

  sides() {
    return [this.query, this.neighbor];
  }

  /** @param {StageData} data */
  setData(data) {
    const changed = [this.query.setPhoto(data.query), this.neighbor.setPhoto(data.neighbor)].some(Boolean);
    if (changed) this.resetZoom(false);
    this.setLinks();
  }

  setLinks() {
    /** @type {Link[]} */
    this.links = this.view.drawn().map((pair) => {
      const parts = ["grip", "halo", "line"].map((name) => svg("path", { class: name }));
      const kind = pair === this.view.outside ? "outside" : (pair.status ?? "");
      const node = svg("g", { class: `link ${kind}`, "data-pair": pair.number }, ...parts);
      node.style.setProperty("--c", pair.color);
      node.style.setProperty("--h", pair.halo);
      return { pair, node, parts };
    });
    // Best pair last, so on top.
    this.linkLayer.replaceChildren(...this.links.map((link) => link.node).reverse());
    this.layout();
  }

  /** @param {{ query: string | null, neighbor: string | null } | null} attention */
  setAttention(attention) {
    for (const side of this.sides()) {
      const url = attention?.[side.name];
      if (!url) side.attentionImage.removeAttribute("href");
      else if (side.attentionImage.getAttribute("href") !== url) side.attentionImage.setAttribute("href", url);
    }
  }

  layout() {
    const width = this.root.clientWidth;
    if (!width || !this.links) return;
    const tallest = clamp(window.innerHeight * this.view.share(), 280, 760);
    this.stacked = this.view.width() < STACK_BELOW;
    /** @param {Side} side */
    const ratio = (side) => side.size().width / side.size().height;
    const frames = framesFor([ratio(this.query), ratio(this.neighbor)], width, tallest, this.stacked);
    this.sides().forEach((side, index) => side.place(frames[index]));
    const height = Math.ceil(frames[1].y + Math.max(frames[1].height, this.stacked ? 0 : frames[0].height)) + 1;
    fill(this.svg, { viewBox: `0 0 ${width} ${height}`, width, height });
    this.view.root.style.setProperty("--stage-height", `${height}px`);
    this.placeOverlay();
  }

  // -- painting ------------------------------------------------------------------------------------

  // Updates classes and colours to what is visible, hovered and selected.
  paint() {
    const { view } = this;
    const hot = view.hotPairs();
    const hotSet = new Set(hot);
    const hotRecords = new Set(view.hotRecords());
    view.root.classList.toggle("has-hot", view.somethingHot());
    for (const { pair, node } of this.links) {
      node.classList.toggle("below", !view.isVisible(pair));
      node.classList.toggle("hot", hotSet.has(pair));
      node.classList.toggle("selected", pair === view.selected);
      node.classList.toggle("wrong", pair.verdict === "wrong");
    }
    this.linkLayer.classList.toggle("many", this.links.length > 30);
    for (const side of this.sides()) {
      const index = side.name === "query" ? "q" : "k";
      const best = new Map();
      const order = [...hot, ...(view.selected ? [view.selected] : []), ...view.visiblePairs()];
      for (const pair of order) if (!best.has(pair[index])) best.set(pair[index], pair);
      const hotBoxes = new Set(hot.map((pair) => pair[index]));
      for (const record of side.records) {
        const pair = record.kind === "candidate" ? best.get(record.index) : undefined;
        const { classList, style } = record.node;
        classList.toggle("paired", Boolean(pair));
        classList.toggle("minor", pair?.number > MAX_CHIPS);
        classList.toggle("hot", hotRecords.has(record) || (record.kind === "candidate" && hotBoxes.has(record.index)));
        if (record.pair !== pair) {
          style.setProperty("--c", pair?.color ?? "");
          style.setProperty("--h", pair?.halo ?? "");
          record.node.dataset.status = pair?.status ?? "";
        }
        record.pair = pair;
      }
    }
    this.placeOverlay();
  }

  placeOverlay() {
    if (!this.query.frame || !this.links) return;
    for (const link of this.links) {
      const curve = this.curve(link.pair);
      if (!curve) continue;
      link.middle = curve.middle;
      link.node.classList.toggle("off", curve.off);
      for (const part of link.parts) part.setAttribute("d", curve.path);
    }
    this.labelLayer.replaceChildren(...this.chips(), ...this.labels());
    this.placeCallout();
  }

  /** @param {DrawnPair} pair */
  curve(pair) {
    const boxes = [this.query.kept[pair.q], this.neighbor.kept[pair.k]];
    if (!boxes[0] || !boxes[1]) return null;
    const from = this.query.visibleRect(boxes[0].box);
    const to = this.neighbor.visibleRect(boxes[1].box);
    return { off: from.hidden || to.hidden, ...linkBetween(from, to, this.stacked) };
  }

  // Returns the numbers at the corners of boxes. Pairs have the same numbers in the table and for the keys 1–9.
  chips() {
    /** @type {[number, number][]} */
    const taken = [];
    const { view } = this;
    const numbered = (view.somethingHot() ? view.hotPairs() : view.visiblePairs()).slice(0, MAX_CHIPS);
    const chips = [];
    for (const side of this.sides()) {
      const index = side.name === "query" ? "q" : "k";
      for (const pair of numbered) {
        const record = side.kept[pair[index]];
        if (!record) continue;
        const rect = side.visibleRect(record.box);
        if (rect.hidden) continue;
        let [x, y] = [rect.left, rect.top];
        while (taken.some(([tx, ty]) => Math.abs(tx - x) < 17 && Math.abs(ty - y) < 15)) x += 17;
        if (x + 16 > side.frame.x + side.frame.width) continue;
        taken.push([x, y]);
        chips.push(this.pill("chip", pair, x + 8, y + 7.5, pair.sign ?? String(pair.number), 16, 15));
      }
    }
    return chips;
  }

  labels() {
    const hot = this.view.hotPairs().slice(0, MAX_CHIPS);
    const placed = this.links
      .filter((link) => hot.includes(link.pair) && link.middle && !link.node.classList.contains("off"))
      .map((link) => ({ pair: link.pair, x: link.middle[0], y: link.middle[1] }))
      .sort((a, b) => a.y - b.y);
    placed.forEach((label, index) => {
      if (index && label.y - placed[index - 1].y < 21) label.y = placed[index - 1].y + 21;
    });
    return placed.map(({ pair, x, y }) => this.pill("label", pair, x, y, pair.similarity.toFixed(3), 44, 19));
  }

  /**
   * @param {string} name
   * @param {DrawnPair} pair
   * @param {number} x of its middle, as y
   * @param {number} y
   * @param {string} text
   * @param {number} width
   * @param {number} height
   */
  pill(name, pair, x, y, text, width, height) {
    const node = svg(
      "g",
      { class: name, "data-pair": pair.number },
      svg("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: 3 }),
      svg("text", { x, y: y + 0.5, text }),
    );
    node.style.setProperty("--c", pair.color);
    node.style.setProperty("--t", wordsOn(pair.halo));
    return node;
  }

  placeCallout() {
    const record = this.view.focusRecord;
    this.callout.hidden = !record;
    if (!record) return;
    const side = this[record.side];
    const rect = side.visibleRect(record.box);
    const pairs = this.view.pairsOf(record).length;
    const [title, ...texts] =
      record.kind === "rejected"
        ? [RULES[record.why.rule] ?? "Rejected", record.why.why, this.otherwise(record)]
        : [`Box ${record.index + 1}`, `${sizeText(record.box)} px · in ${plural(pairs || "no", "pair")}`];
    this.callout.replaceChildren(
      el("strong", { text: title }),
      ...texts.map((text) => text && el("span", { text })).filter(Boolean),
    );
    this.callout.hidden = rect.hidden;
    const { offsetWidth, offsetHeight } = this.callout;
    const fitsBelow = rect.bottom + 6 + offsetHeight <= side.frame.y + side.frame.height;
    const top = fitsBelow ? rect.bottom + 6 : Math.max(rect.top + 6, rect.bottom - offsetHeight - 6);
    const left = clamp(rect.left, 0, Math.max(0, this.root.clientWidth - offsetWidth - 4));
    Object.assign(this.callout.style, { left: `${left}px`, top: `${top}px` });
  }

  /**
   * Returns what would keep a rejected box, when the server has answered.
   * @param {BoxRecord} record
   */
  otherwise(record) {
    const { explained } = this.view.data;
    return explained?.side === record.side && explained.raw === record.why.raw ? explained.text : "";
  }

  // -- zoom ----------------------------------------------------------------------------------------

  zoomed() {
    return this.sides().some((side) => side.view.zoom > 1);
  }

  /**
   * Zooms by a factor around the same relative position in all frames.
   * @param {number} factor
   * @param {number} fx
   * @param {number} fy
   */
  zoomBy(factor, fx, fy) {
    this.stopTween();
    for (const stage of this.inStep) {
      for (const side of stage.sides()) {
        const { zoom, u, v } = side.view;
        const next = clamp(zoom * factor, 1, MAX_ZOOM);
        side.setView({ zoom: next, u: u + fx * (1 / zoom - 1 / next), v: v + fy * (1 / zoom - 1 / next) });
      }
      stage.afterZoom();
    }
  }

  /**
   * @param {number} dx
   * @param {number} dy
   */
  panBy(dx, dy) {
    this.stopTween();
    for (const stage of this.inStep) {
      for (const side of stage.sides()) {
        const { zoom, u, v } = side.view;
        side.setView({ zoom, u: u - dx / zoom, v: v - dy / zoom });
      }
      stage.afterZoom();
    }
  }

  afterZoom() {
    this.view.root.classList.toggle("zoomed", this.zoomed());
    this.view.toolbar?.showZoom();
    this.placeOverlay();
  }

  resetZoom(animate = true) {
    this.tweenTo(
      this.sides().map(() => ({ zoom: 1, u: 0, v: 0 })),
      animate,
    );
  }

  /** @param {DrawnPair} pair */
  zoomToPair(pair) {
    const boxes = [this.query.kept[pair.q], this.neighbor.kept[pair.k]];
    if (boxes.every(Boolean))
      this.tweenTo(
        this.sides().map((side, index) => side.viewOf(boxes[index].box)),
        true,
      );
  }

  stopTween() {
    cancelAnimationFrame(this.tween);
  }

  /**
   * @param {View[]} targets of both sides
   * @param {boolean} animate
   */
  tweenTo(targets, animate) {
    this.stopTween();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const moves = this.inStep.map((stage) => ({ stage, starts: stage.sides().map((side) => side.view) }));
    const begin = performance.now();
    /** @param {number} now */
    const step = (now) => {
      const t = animate && !still ? clamp((now - begin) / 200, 0, 1) : 1;
      const ease = 1 - (1 - t) ** 3;
      /** @type {(a: View, b: View, key: keyof View) => number} */
      const mix = (a, b, key) => a[key] + (b[key] - a[key]) * ease;
      for (const { stage, starts } of moves) {
        stage.sides().forEach((side, index) => {
          const [a, b] = [starts[index], targets[index]];
          side.setView({ zoom: mix(a, b, "zoom"), u: mix(a, b, "u"), v: mix(a, b, "v") });
        });
        stage.afterZoom();
      }
      if (t < 1) this.tween = requestAnimationFrame(step);
    };
    step(begin);
  }
}
