// @ts-check
// What a shared folder says about its set.

import { el } from "../components/dom.js";

/** @import { SharedFact } from "./about_types.js" */
/** @import { Shared } from "./data.js" */

/** @param {SharedFact[]} facts */
function table(facts) {
  const rows = facts.map(({ name, value, code }) =>
    el("tr", {}, el("th", { scope: "row", text: name }), el("td", {}, code ? el("code", { text: value }) : value)),
  );
  return el("table", {}, el("tbody", {}, ...rows));
}

/** @param {Shared} shared */
export function setPage({ about }) {
  const settings = about.settings.map(({ name, value, paper }) =>
    el(
      "tr",
      { class: paper ? "changed" : null },
      el("th", { scope: "row", text: name }),
      el("td", { text: paper ? `${value} (paper: ${paper})` : value }),
    ),
  );
  return [
    el(
      "div",
      { class: "about" },
      el("h2", { text: "This folder" }),
      el("ul", {}, ...about.holds.map((text) => el("li", { text }))),
      el("h2", { text: "The set" }),
      table(about.facts),
      el("h2", { text: "Settings of mining" }),
      el("table", {}, el("tbody", {}, ...settings)),
      about.measures.length && el("h2", { text: "Measures of the whole set" }),
      about.measures.length && table(about.measures),
      el("p", { class: "note", text: `Made with ${about.made_by}. It needs no server and no network.` }),
    ),
  ];
}
