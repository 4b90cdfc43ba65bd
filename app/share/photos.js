// @ts-check
// The gallery of a shared folder.

import { el } from "../components/dom.js";
import { plural } from "../components/words.js";
import { Gallery } from "../pages/explore/gallery.js";
import { address, go, numberIn } from "./address.js";
import { choice, pager, rooted } from "./parts.js";

/** @import { Shared } from "./data.js" */
/** @import { SharedPhoto } from "./rows_types.js" */

const PER_PAGE = 48;

/** @type {Record<string, (photo: SharedPhoto) => number>} */
const SORTS = {
  Name: () => 0,
  "Most pairs": ({ pairs }) => -pairs,
  "Fewest pairs": ({ pairs }) => pairs,
  "Most similar pairs": ({ mean }) => -(mean ?? -2),
  "Least similar pairs": ({ mean }) => mean ?? 2,
};

/**
 * Returns the photos in an order; equal ones by name.
 * @param {Shared} shared
 * @param {string} sort
 * @param {string} part of the name
 */
export function inOrder({ photos, about }, sort, part) {
  const wanted = part.toLowerCase();
  const shown = [];
  for (let at = 0; at < about.queries; at++) if (photos[at].name.toLowerCase().includes(wanted)) shown.push(at);
  const value = SORTS[sort] ?? SORTS.Name;
  return shown.sort((a, b) => value(photos[a]) - value(photos[b]) || a - b);
}

/** @param {SharedPhoto} photo */
function badgesOf({ rois, pairs, mean, cycle }) {
  const badges = [
    { text: plural(rois, "RoI"), meaning: "Regions of this photo that can be matched." },
    { text: plural(pairs, "pair"), meaning: "Pairs of its RoIs with RoIs of its neighbours." },
  ];
  if (mean !== null) badges.push({ text: `cos ${mean.toFixed(2)}`, meaning: "Mean cosine similarity of its pairs." });
  if (cycle !== null) {
    const meaning = "Share of its pairs with a consistent way back: the key's best match here is the query RoI.";
    badges.push({ text: `↺ ${Math.round(100 * cycle)} %`, meaning });
  }
  return badges;
}

/** @param {Shared} shared */
export function photosPage(shared) {
  const at = address();
  const [sort, part] = [at.get("sort") ?? "Name", at.get("name") ?? ""];
  shared.order = inOrder(shared, sort, part);
  const pages = Math.max(1, Math.ceil(shared.order.length / PER_PAGE));
  const page = Math.min(Math.max(1, numberIn("p", 1)), pages);
  /** @param {Record<string, string | number>} changed */
  const show = (changed) => go({ view: "photos", sort: sort === "Name" ? "" : sort, name: part, ...changed });
  const search = el("input", { type: "search", value: part });
  search.onchange = () => show({ name: search.value, p: "" });
  const root = el("div", { class: "gallery" });
  const host = rooted(shared.styles.photos, el("div", { class: "bar" }), el("div", { class: "head" }), root);
  const gallery = new Gallery(root);
  gallery.send = (what, id) => what === "open" && go({ view: "pair", q: Number(id) });
  gallery.setData({
    tiles: shared.order.slice((page - 1) * PER_PAGE, page * PER_PAGE).map((id) => {
      const photo = shared.photos[id];
      return {
        id,
        thumb: shared.small(id),
        name: shared.fileName(id),
        badges: badgesOf(photo),
        width: photo.width,
        height: photo.height,
        missing: !photo.picture,
        note: "no picture in this folder",
      };
    }),
    selected: null,
    tags: [],
    scope: null,
    can_mark: false,
    kept_out: "",
    figure: null,
  });
  const count = shared.order.length === shared.about.queries ? "" : `${shared.order.length} of `;
  return [
    el(
      "div",
      { class: "controls" },
      choice("Sort by", Object.keys(SORTS), sort, (value) => show({ sort: value, p: "" })),
      el("label", {}, el("span", { text: "Name contains" }), search),
      el("strong", { role: "status", text: `${count}${plural(shared.about.queries, "photo")}` }),
    ),
    host,
    pager(page, pages, (p) => show({ p })),
  ];
}
