// @ts-check
// The view: state, actions, keys, and the entry point that Streamlit calls with new data.

import { AddressBar, lastingLink } from "../../components/address.js";
import { DARK, PAIRS } from "../../components/colours.js";
import { el } from "../../components/dom.js";
import { entry, numbered } from "../../components/entry.js";
import { clamp } from "../../components/numbers.js";
import { stagesDrawn } from "../../components/stage/figure.js";
import { Keys } from "../../components/stage/keys.js";
import { Looking } from "../../components/stage/looking.js";
import { Stage } from "../../components/stage/stage.js";
import { VERDICTS } from "../../components/verdicts.js";
import { fileStem } from "../../components/words.js";
import { captionOf } from "./caption.js";
import { Filmstrip } from "./filmstrip.js";
import { HelpSheet } from "./help.js";
import { layersFrom, layersText, roiName, roiNamed, thresholdFrom } from "./look.js";
import { Matches } from "./matches.js";
import { Matrix } from "./matrix.js";
import { Reasons } from "./reasons.js";
import { PairTable } from "./table.js";
import { Toolbar } from "./toolbar.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { DrawnPair, Layer } from "../../components/stage/looking.js" */
/** @import { Judgement } from "../../components/verdicts.js" */
/** @import { BoxRecord } from "../../components/stage/side.js" */
/** @import { OutsidePair, ShownPair, PairPayload } from "./component_types.js" */

/** @typedef {Omit<ShownPair, "rank"> & DrawnPair & { rank: number | null, note?: string }} KeptPair */

// Style of a pair that is not kept.
const OUTSIDE = { color: "#FFFFFF", halo: DARK, sign: "–" };

// Returns the data that the stage and the table are built from. A selection or a verdict does not change it, so the
// rows keep their focus and hover.
/** @param {PairPayload} data */
function fingerprint({ query, neighbor, pairs, matrix, can_judge, crop_url }) {
  return JSON.stringify([
    query,
    neighbor,
    pairs.map((pair) => [pair.rank, pair.q, pair.k, pair.similarity]),
    matrix,
    can_judge,
    crop_url,
  ]);
}

/** @extends {Looking<KeptPair, PairPayload>} */
export class PairView extends Looking {
  /** @param {HTMLElement} root */
  constructor(root) {
    super(root);
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    this.opacity = 0.6;
    /** @type {string | null} */
    this.roi = null; // name of the box whose matches or rejection the server was asked for
    /** @type {Set<string>} */
    this.prefetched = new Set();
    this.address = new AddressBar(this);
    this.address.read();
    /** @type {Stage} */
    this.stage = new Stage(this);
    this.filmstrip = new Filmstrip(this);
    this.toolbar = new Toolbar(this);
    this.matches = new Matches(this);
    this.reasons = new Reasons(this);
    this.matrix = new Matrix(this);
    this.table = new PairTable(this);
    this.help = new HelpSheet();
    const aside = el(
      "div",
      { class: "aside" },
      ...[this.matches, this.reasons, this.matrix, this.table].map((part) => part.root),
    );
    const main = el("div", { class: "main" }, this.stage.root, aside);
    root.replaceChildren(this.filmstrip.root, this.toolbar.root, main, this.help.root);
    // Without this, the next key after a mouse click would draw a focus ring. Keyboard focus is kept.
    root.onclick = (event) => {
      const { activeElement } = /** @type {ShadowRoot} */ (root.getRootNode());
      if (event.detail > 0) /** @type {HTMLElement | null} */ (activeElement)?.blur();
    };
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(root);
    this.keys = new Keys(this);
  }

  destroy() {
    this.resizer.disconnect();
    this.address.destroy();
    this.stage.stopTween();
    this.keys.destroy();
  }

  resize() {
    this.root.classList.toggle("wide", this.width() >= 1100);
    this.stage.layout();
    this.matrix.layout();
  }

  // -- data ------------------------------------------------------------------------------------------

  /** @param {PairPayload} data */
  setData(data) {
    if (!data || data === this.data) return; // a theme change runs the entry point again
    const drawing = fingerprint(data);
    const redraw = drawing !== this.drawing;
    const samePhotos = data.query.id === this.data?.query.id && data.neighbor?.id === this.data?.neighbor?.id;
    this.drawing = drawing;
    this.data = data;
    if (redraw) {
      this.pairs = data.pairs.map((pair, index) => ({ ...pair, ...PAIRS[index % PAIRS.length], number: index + 1 }));
      this.outside = null;
      this.hoverPairs = this.hoverRecords = [];
      this.focusRecord = null;
    }
    data.pairs.forEach((pair, index) => (this.pairs[index].verdict = pair.verdict));
    const moved = this.setOutside(data.outside);
    const { selected } = data;
    this.selected = this.drawn().find((pair) => pair.q === selected?.q && pair.k === selected?.k) ?? null;
    if (!samePhotos) this.table.root.scrollTop = 0;
    this.root.classList.toggle("wide", this.width() >= 1100);
    if (redraw) {
      this.stage.setData(data);
      this.table.setData(data);
      this.matrix.setData(data);
    } else if (moved) this.showOutside();
    this.roi = data.roi;
    this.focusRecord = this.recordOf(data.roi);
    this.matches.setData(data);
    this.reasons.setData(data);
    this.filmstrip.setData(data);
    this.toolbar.setData(data);
    this.matrix.layout();
    this.paint();
    if (this.selected) this.table.reveal(this.selected);
    this.address.writeNow();
    for (const url of data.prefetch ?? []) {
      if (this.prefetched.has(url)) continue;
      this.prefetched.add(url);
      new Image().src = url;
    }
  }

  /**
   * Sets the selected pair that is not kept. It is drawn dashed.
   * @param {OutsidePair | null} pair
   */
  setOutside(pair) {
    const before = this.outside;
    this.outside = pair ? { ...pair, ...OUTSIDE, rank: null, number: 0 } : null;
    return JSON.stringify(before) !== JSON.stringify(this.outside);
  }

  showOutside() {
    this.stage.setLinks();
    this.table.setData(this.data);
  }

  /**
   * Returns the named box; null if the selected pair shows it already.
   * @param {string | null} roi
   */
  recordOf(roi) {
    const found = roiNamed(roi);
    if (!found) return null;
    const { kept, rejected } = this.stage[found.side];
    if (found.rejected) return rejected.find((record) => record.why.raw === found.index) ?? null;
    const index = found.side === "query" ? "q" : "k";
    return this.selected?.[index] === found.index ? null : (kept[found.index] ?? null);
  }

  emptySentence() {
    if (!this.data.neighbor) return "This query has no neighbours.";
    if (this.outside) return "";
    if (!this.pairs.length) return "These settings find no pair of these two photos.";
    if (this.visiblePairs().length) return "";
    return `No pair reaches this similarity. The best has ${this.pairs[0].similarity.toFixed(3)}.`;
  }

  // -- painting --------------------------------------------------------------------------------------

  paint() {
    for (const [name, on] of Object.entries(this.layers)) this.root.classList.toggle(`no-${name}`, !on);
    this.root.style.setProperty("--attention-opacity", String(this.opacity));
    // The server computes heat maps: request them only when they are shown.
    this.stage.setAttention(this.layers.attention ? this.data.attention : null);
    this.stage.paint();
    this.table.paint();
    this.reasons.paint();
    this.matrix.paint();
    this.toolbar.paint();
  }

  highlight() {
    this.stage.paint();
    this.table.paint();
    this.reasons.paint();
    this.matrix.paint();
  }

  // -- actions ---------------------------------------------------------------------------------------

  /** @param {BoxRecord} record */
  choose(record) {
    const pairs = this.pairsOf(record);
    const roi = roiName(record);
    if (pairs.length === 1) return this.select(pairs[0], roi);
    this.focusRecord = record;
    this.highlight();
    return this.sendPick(roi);
  }

  /**
   * @param {KeptPair | null} pair
   * @param {string | null} [roi] the clicked box, or null, which closes the details of another one
   */
  select(pair, roi = null) {
    const moved = this.outside !== null && pair !== this.outside;
    if (moved) this.outside = null;
    this.focusRecord = null;
    this.selected = pair;
    if (moved) this.showOutside();
    this.highlight();
    if (pair) this.table.reveal(pair);
    this.sendPick(roi);
  }

  /**
   * Selects two boxes: a kept pair, or a pair that is drawn in addition.
   * @param {number} q
   * @param {number} k
   * @param {number} similarity
   */
  selectBoxes(q, k, similarity) {
    const pair = this.pairs.find((candidate) => candidate.q === q && candidate.k === k);
    const roi = [`q${q}`, `n${k}`].includes(this.roi) ? this.roi : null;
    if (pair) return this.select(pair, roi);
    if (this.setOutside({ q, k, similarity, verdict: null, note: "Not in the set" })) this.showOutside();
    return this.select(this.outside, roi);
  }

  /** @param {string | null} roi */
  sendPick(roi) {
    this.roi = roi;
    this.send("pick", numbered({ q: this.selected?.q ?? null, k: this.selected?.k ?? null, roi }));
  }

  // Closes the details of a box; if none are open, clears the selection.
  clear() {
    if (this.focusRecord || this.roi) {
      this.focusRecord = null;
      this.matches.root.hidden = true;
      this.highlight();
      this.sendPick(null);
    } else if (this.selected) this.select(null);
  }

  /** @param {number} offset */
  pickBy(offset) {
    const pairs = this.visiblePairs();
    if (!pairs.length) return;
    const at = pairs.indexOf(this.selected);
    this.select(pairs[at < 0 ? 0 : clamp(at + offset, 0, pairs.length - 1)]);
  }

  /**
   * @param {KeptPair} pair
   * @param {Judgement} verdict
   */
  judge(pair, verdict) {
    pair.verdict = pair.verdict === verdict ? null : verdict; // until new data arrives
    this.highlight();
    const { rank, q, k } = pair;
    const { query, neighbor } = this.data;
    // The photos and boxes name the pair: by the time the server hears this, it may show another one.
    const sides = [
      { photo: query.id, box: query.boxes[q] },
      { photo: neighbor.id, box: neighbor.boxes[k] },
    ];
    this.send("verdict", numbered({ rank, q, k, sides, verdict: pair.verdict }));
  }

  /** @param {number} rank */
  goTo(rank) {
    if (rank !== this.data.neighbor?.rank) this.send("neighbor", rank);
  }

  /** @param {number} offset */
  goBy(offset) {
    const ranks = this.data.neighbors.map((neighbor) => neighbor.rank);
    const next = ranks[ranks.indexOf(this.data.neighbor?.rank) + offset];
    if (next !== undefined) this.goTo(next);
  }

  /** @param {Layer} name */
  toggleLayer(name) {
    if (this.toolbar.toggles[name].disabled || this.toolbar.toggles[name].hidden) return;
    this.layers[name] = !this.layers[name];
    if (name === "rejected" && this.focusRecord?.kind === "rejected") this.focusRecord = null;
    this.paint();
    if (name === "matrix") this.matrix.layout();
    this.address.write();
  }

  /** @param {number} opacity */
  setOpacity(opacity) {
    this.opacity = opacity;
    this.root.style.setProperty("--attention-opacity", String(opacity));
  }

  /** @param {number | null} value */
  setThreshold(value) {
    this.threshold = value === null || value <= Number(this.toolbar.range.min) ? null : value;
    this.paint();
    this.address.write();
  }

  // Searches the set with the clicked box, else with the selected query RoI, else with the query photo.
  search() {
    const roi = this.roi ?? (this.selected ? `q${this.selected.q}` : null);
    this.send("search", numbered({ roi }));
  }

  zoomToPair() {
    const pair = this.selected ?? this.visiblePairs()[0];
    if (pair) this.stage.zoomToPair(pair);
  }

  // -- keys ------------------------------------------------------------------------------------------

  /**
   * @param {string} key
   * @returns {(() => unknown) | undefined}
   */
  actionOf(key) {
    /** @type {Record<string, () => unknown>} */
    const actions = {
      ArrowLeft: () => this.send("step", -1),
      ArrowRight: () => this.send("step", 1),
      ArrowUp: () => this.goBy(-1),
      ArrowDown: () => this.goBy(1),
      j: () => this.pickBy(1),
      k: () => this.pickBy(-1),
      a: () => this.toggleLayer("attention"),
      l: () => this.toggleLayer("links"),
      r: () => this.toggleLayer("rejected"),
      m: () => this.toggleLayer("matrix"),
      s: () => this.search(),
      z: () => this.zoomToPair(),
      0: () => this.stage.resetZoom(),
      "?": () => this.help.toggle(),
      Escape: () => this.escape(),
    };
    if (/^[1-9]$/.test(key)) {
      const pair = this.visiblePairs().find((candidate) => candidate.number === Number(key));
      return pair && (() => this.select(pair));
    }
    const verdict = VERDICTS.find((each) => each.key === key)?.name;
    if (verdict) return () => this.selected && this.data.can_judge && this.judge(this.selected, verdict);
    return actions[key];
  }

  // -- display options in the URL --------------------------------------------------------------------

  inAddress() {
    return { layers: layersText(this.layers), cos: this.threshold === null ? "" : String(this.threshold) };
  }

  /** @param {URLSearchParams} parameters */
  fromAddress(parameters) {
    this.layers = layersFrom(parameters.get("layers"));
    this.threshold = thresholdFrom(parameters.get("cos"));
    if (this.data) this.paint();
  }

  // -- what is saved, as SaveMenu asks for it --------------------------------------------------------

  picture() {
    return stagesDrawn(this.root, [[this.stage, ""]]);
  }

  captionLines() {
    const { data, pairs, threshold } = this;
    const attention = (this.layers.attention && data.attention?.label) || "";
    return captionOf(data.caption, { shown: this.visiblePairs().length, pairs: pairs.length, threshold, attention });
  }

  fileName() {
    return [this.data.query, this.data.neighbor].filter(Boolean).map(fileStem).join("-");
  }

  link() {
    this.address.writeNow();
    return lastingLink(this.data.place);
  }

  escape() {
    if (!this.help.root.hidden) this.help.toggle(false);
    else if (!this.toolbar.save.menu.hidden) this.toolbar.save.toggle(false);
    else this.clear();
  }
}

export default entry(".pair-view", PairView);
