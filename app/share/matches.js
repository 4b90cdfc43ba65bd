// @ts-check
// All pairs of a shared folder, in a chosen order.

import { el } from "../components/dom.js";
import { cropUrl } from "../components/urls.js";
import { plural } from "../components/words.js";
import { MatchGrid } from "../pages/matches/grid.js";
import { address, go, numberIn } from "./address.js";
import { boxOf } from "./data.js";
import { CROPS } from "./pair.js";
import { choice, pager, rooted } from "./parts.js";

/** @import { Shared } from "./data.js" */

const PER_PAGE = 36;

/**
 * Orders: what is compared, falling, and what it means. Pairs without a value come last.
 * @type {Record<string, ["similarity" | "margin" | "cycle", boolean, string]>}
 */
const SORTS = {
  "Most similar": ["similarity", true, "Cosine similarity of the two RoIs, largest first."],
  "Least similar": ["similarity", false, "Cosine similarity of the two RoIs, smallest first."],
  "Smallest margin": ["margin", false, "The key is barely more similar than the next best key in this neighbour."],
  "Largest margin": ["margin", true, "The key is far more similar than the next best key."],
  "Inconsistent first": ["cycle", false, "The key's nearest RoI in the query photo is another RoI."],
  "Consistent first": ["cycle", true, "The key's nearest RoI in the query photo is the query RoI."],
};

/**
 * Returns the rows of some columns in an order.
 * @param {Record<"similarity" | "margin" | "cycle", Float32Array>} columns
 * @param {string} sort
 */
export function sortedRows(columns, sort) {
  const [name, falling] = SORTS[sort] ?? SORTS["Most similar"];
  const sign = falling ? -1 : 1;
  const keys = Float32Array.from(columns[name], (value) => (Number.isNaN(value) ? Infinity : sign * value));
  const rows = Uint32Array.from(keys, (_, row) => row);
  const { similarity } = columns;
  return rows.sort((a, b) =>
    keys[a] === keys[b] ? similarity[b] - similarity[a] || a - b : keys[a] < keys[b] ? -1 : 1,
  );
}

/**
 * @param {Shared} shared
 * @param {number} query
 * @param {number} place among its pairs
 * @returns {Promise<import("../pages/matches/component_types.js").Card>}
 */
async function cardOf(shared, query, place) {
  const rows = await shared.rows(query);
  const [rank, q, k, similarity, margin, cycle, verdict] = rows.pairs[place];
  const key = rows.neighbors.find(([each]) => each === rank)[1];
  /** @type {(at: number, box: number[]) => import("../pages/matches/component_types.js").CardSide} */
  const side = (at, box) => ({ name: shared.fileName(at), crop: cropUrl(CROPS, at, box, shared.photos[at]), lost: "" });
  return {
    id: `${query}.${rank}.${q}.${k}`,
    query: side(query, boxOf(rows, q)),
    key: side(key, boxOf(await shared.rows(key), k)),
    neighbor_rank: rank,
    similarity,
    margin,
    cycle,
    verdict: /** @type {"good" | "wrong" | "interesting" | null} */ (verdict),
    tags: [],
  };
}

/** @param {Shared} shared */
export async function matchesPage(shared) {
  const sort = SORTS[address().get("by")] ? address().get("by") : "Most similar";
  const columns = await shared.matches();
  const rows = sortedRows(columns, sort);
  const pages = Math.max(1, Math.ceil(columns.count / PER_PAGE));
  const page = Math.min(Math.max(1, numberIn("p", 1)), pages);
  const shown = [...rows.slice((page - 1) * PER_PAGE, page * PER_PAGE)];
  const cards = await Promise.all(shown.map((row) => cardOf(shared, columns.photo[row], columns.place[row])));
  const root = el("div", { class: "matches" });
  const host = rooted(shared.styles.matches, el("div", { class: "head" }), root, el("datalist"));
  const grid = new MatchGrid(root);
  grid.send = (_, id) => {
    const [query, rank, q, k] = String(id).split(".");
    go({ view: "pair", q: query, nn: rank, pair: `${q}-${k}` });
  };
  grid.setData({ cards, tags: [], can_judge: false, answered: 0, figure: null });
  return [
    el(
      "div",
      { class: "controls" },
      choice("Show first", Object.keys(SORTS), sort, (by) => go({ view: "matches", by })),
      el("strong", { role: "status", text: plural(columns.count, "pair") }),
      el("span", { text: SORTS[sort][2] }),
    ),
    host,
    pager(page, pages, (p) => go({ view: "matches", by: sort, p })),
  ];
}
