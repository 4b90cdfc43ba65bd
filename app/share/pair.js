// @ts-check
// The pair view of a shared folder: that of the explorer, with data from the folder instead of the server.

import { el } from "../components/dom.js";
import { HelpSheet, KEYS } from "../pages/pair/help.js";
import { layersFrom, thresholdFrom } from "../pages/pair/look.js";
import { PairView } from "../pages/pair/view.js";
import { address, go, note, numberIn } from "./address.js";
import { boxOf } from "./data.js";
import { rooted } from "./parts.js";

/** @import { PairFact, PairPayload, ShownPair } from "../pages/pair/component_types.js" */
/** @import { Shared } from "./data.js" */
/** @import { SharedRows } from "./rows_types.js" */

export const CROPS = "pictures/small/{image}.jpg#crop={x},{y},{w},{h},{W},{H}";
const NEEDS_THE_SERVER = ["G X I", "L R A M"];

/**
 * @param {SharedRows["pairs"][number]} pair
 * @param {number[]} objectness of both RoIs, or nothing
 */
function factsOf([, , , similarity, margin, cycle], objectness) {
  /** @type {PairFact[]} */
  const facts = [
    { name: "cosine", value: similarity.toFixed(3), meaning: "Cosine similarity of the features of the two RoIs." },
  ];
  if (margin !== null) {
    const meaning =
      "The cosine less that of the best other RoI of the neighbour. Negative: another one is more similar.";
    facts.push({ name: "margin", value: `${margin < 0 ? "−" : "+"}${Math.abs(margin).toFixed(3)}`, meaning });
  }
  if (cycle !== null) {
    const meaning = "Whether the query photo's RoI that is most similar to the neighbour RoI is the query RoI.";
    facts.push({ name: "way back", value: cycle ? "this RoI" : "another RoI", meaning });
  }
  if (objectness.length) {
    const value = objectness.map((each) => each.toFixed(2)).join(" and ");
    const meaning =
      "Score of both RoIs as whole objects, by the encoder's attention: the query's, then the neighbour's.";
    facts.push({ name: "objectness", value, meaning });
  }
  return facts;
}

/** @param {SharedRows} rows */
const boxesOf = (rows) => Array.from({ length: rows.rois.length / 4 }, (_, index) => boxOf(rows, index));

/**
 * Returns the data of the view.
 * @param {Shared} shared
 * @param {{ query: number, rank: number, pair: string | null, roi: string | null }} asked
 * @returns {Promise<PairPayload>}
 */
export async function payloadOf(shared, { query, rank, pair, roi }) {
  const rows = await shared.rows(query);
  const near = rows.neighbors.find(([each]) => each === rank) ?? rows.neighbors[0] ?? null;
  const others = near && (await shared.rows(near[1]));
  /** @type {(at: number, own: SharedRows) => import("../pages/pair/component_types.js").ShownPhoto} */
  const photo = (at, own) => {
    const { width, height } = shared.photos[at];
    return { id: at, name: shared.name(at), url: shared.large(at), width, height, boxes: boxesOf(own), rejected: [] };
  };
  const found = near ? rows.pairs.filter(([each]) => each === near[0]) : [];
  const chosen = found.find(([, q, k]) => pair === `${q}-${k}`) ?? null;
  /** @type {(index: number) => number} */
  const counted = (each) => rows.pairs.reduce((count, [of]) => count + Number(of === each), 0);
  const scores = chosen && rows.objectness.length ? [rows.objectness[chosen[1]], others.objectness[chosen[2]]] : [];
  return {
    query: photo(query, rows),
    neighbor: near && { ...photo(near[1], others), rank: near[0], similarity: near[2] },
    neighbors: rows.neighbors.map(([each, at, similarity]) => ({
      rank: each,
      id: at,
      name: shared.fileName(at),
      thumb: shared.small(at),
      similarity,
      pairs: counted(each),
    })),
    pairs: found.map(([, q, k, similarity, , , verdict], index) => ({
      rank: index + 1,
      q,
      k,
      similarity,
      verdict: /** @type {ShownPair["verdict"]} */ (verdict),
    })),
    selected: chosen && { q: chosen[1], k: chosen[2] },
    outside: null,
    roi,
    matches: null,
    explained: null,
    reasons: chosen && { q: chosen[1], k: chosen[2], facts: factsOf(chosen, scores), cells: [] },
    matrix: null,
    attention: null,
    place: {},
    caption: [],
    crop_url: CROPS,
    can_judge: false,
  };
}

class SharedPair extends PairView {
  /**
   * @param {HTMLElement} root
   * @param {Shared} shared
   */
  constructor(root, shared) {
    super(root);
    this.shared = shared;
    this.turn = 0; // of what is shown
    this.toolbar.save.root.remove(); // it would read the pictures as files, which browsers refuse on disk
    this.toolbar.toggles.rejected.remove();
    const help = new HelpSheet(KEYS.filter(([names]) => !NEEDS_THE_SERVER.includes(names)));
    this.help.root.replaceWith(help.root);
    this.help = help;
    this.address.destroy();
    /** @type {any} */
    const bar = {
      read() {},
      destroy() {},
      write: () => note(this.inAddress()),
      writeNow: () => note(this.inAddress()),
    };
    this.address = bar;
    this.layers = layersFrom(address().get("layers"));
    this.threshold = thresholdFrom(address().get("cos"));
    /** @type {import("../components/entry.js").Send} */
    this.send = (name, value) => this.act(name, value);
  }

  /**
   * @param {string} name of a trigger
   * @param {any} value
   */
  act(name, value) {
    const query = numberIn("q", 0);
    if (name === "neighbor") go({ view: "pair", q: query, nn: value });
    if (name === "step") {
      const { order } = this.shared;
      const next = order[order.indexOf(query) + value];
      if (next !== undefined) go({ view: "pair", q: next });
    }
    if (name === "pick") {
      note({ pair: value.q === null ? "" : `${value.q}-${value.k}` });
      this.show(value.roi);
    }
  }

  /** @param {string | null} roi */
  async show(roi = null) {
    this.turn += 1;
    const own = this.turn;
    const asked = { query: numberIn("q", 0), rank: numberIn("nn", 1), pair: address().get("pair"), roi };
    const data = await payloadOf(this.shared, asked);
    // Quick clicks: the address names another photo by now, or the view was closed.
    if (own === this.turn && open?.view === this) this.setData(data);
  }
}

/** @type {{ view: SharedPair, host: HTMLElement } | null} */
let open = null;
const place = el("p", { class: "place note" });

/** @param {Shared} shared */
export async function pairPage(shared) {
  const query = numberIn("q", 0);
  if (query >= shared.about.queries) {
    closePair();
    return [el("p", { class: "note", text: "There is no such photo in this folder." })];
  }
  const [at, total] = [shared.order.indexOf(query) + 1, shared.order.length];
  place.textContent = at ? `Photo ${at} of ${total}. Keys: ← → photos, ↑ ↓ neighbours, ? all keys.` : "";
  if (!open) {
    const root = el("div", { class: "pair-view" });
    const host = rooted(shared.styles.pair, root);
    open = { view: new SharedPair(root, shared), host };
  }
  const { view, host } = open;
  await view.show();
  return host.isConnected ? null : [place, host]; // a quick click may have come before it was on screen
}

/** Ends the view that is open, with its keys. */
export function closePair() {
  open?.view.destroy();
  open = null;
}
