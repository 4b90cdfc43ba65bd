// @ts-check
// A card of a match: the crops of both RoIs side by side, with the measures of the pair.

import { cropPicture } from "../../components/crop.js";
import { el, icon, noPicture } from "../../components/dom.js";
import { VERDICTS } from "../../components/verdicts.js";

/** @import { Judgement } from "../../components/verdicts.js" */
/** @import { Card, CardSide } from "./component_types.js" */
/** @import { MatchGrid } from "./grid.js" */

const LOST = { "": "", gone: "photo is gone", unreadable: "photo cannot be read", changed: "photo has changed" };

/** @param {CardSide} side */
function cropOf({ name, crop, lost }) {
  const instead = () => noPicture(lost && lost !== "changed" ? LOST[lost] : "no picture");
  const image = cropPicture(crop, { loading: "lazy", draggable: "false" }, instead);
  const since = lost === "changed" && el("span", { class: "since", text: LOST[lost] });
  return el("span", { class: "crop", title: [name, LOST[lost]].filter(Boolean).join(": ") }, image, since);
}

/** @param {boolean} cycle */
const wayBackText = (cycle) => (cycle ? "↺ consistent" : "↺ inconsistent");

/** @param {boolean | null} cycle */
function wayBack(cycle) {
  if (cycle === null) return null;
  const text = wayBackText(cycle);
  const title = cycle
    ? "The key RoI's best match in the query photo is this query RoI"
    : "The key RoI's best match in the query photo is another RoI";
  return el("span", { class: `badge ${cycle ? "" : "broken"}`, text, title });
}

/**
 * Returns the name of a card: what is seen comes first, in its order, as people say it to their voice control.
 * @param {Card} card
 */
function description({ query, key, similarity, margin, cycle, verdict, tags }) {
  const back = cycle === null ? "" : wayBackText(cycle);
  const lost = [query, key].filter((side) => side.lost).map((side) => `${side.name}: ${LOST[side.lost]}`);
  const facts = [similarity.toFixed(3), marginText(margin), back, ...tags, `${query.name} → ${key.name}`];
  return [facts.filter(Boolean).join(" "), "cosine and margin", verdict ?? "", ...lost].filter(Boolean).join(", ");
}

/** @param {number | null} margin */
const marginText = (margin) =>
  margin === null ? "no margin" : `${margin < 0 ? "−" : "+"}${Math.abs(margin).toFixed(3)}`;

/**
 * @param {Card} card
 * @param {MatchGrid} grid
 */
function verdictButtons(card, grid) {
  const judged = grid.canJudge || card.verdict ? VERDICTS : [];
  const buttons = judged.map(({ name, word, key }) =>
    el(
      "button",
      {
        type: "button",
        class: `verdict ${name}`,
        tabindex: "-1",
        title: `${word} (${key.toUpperCase()})`,
        "aria-label": word,
        "aria-pressed": String(card.verdict === name),
        disabled: !grid.canJudge,
        onclick: () => grid.judge(card.id, name),
      },
      icon(name),
    ),
  );
  const title = "Add or remove a tag (T)";
  const tag = { type: "button", class: "verdict", tabindex: "-1", text: "#", title, "aria-label": title };
  if (grid.canJudge) buttons.push(el("button", { ...tag, onclick: () => grid.askForTag(card.id) }));
  const again = "Search with the query RoI (S)";
  const search = { type: "button", class: "verdict seek", tabindex: "-1", title: again, "aria-label": again };
  buttons.push(el("button", { ...search, onclick: () => grid.search(card.id) }, icon("search")));
  return el("span", { class: "verdicts" }, ...buttons);
}

/**
 * @param {Card} card
 * @param {MatchGrid} grid
 */
export function cardNode(card, grid) {
  const opener = el(
    "button",
    {
      type: "button",
      class: "match",
      tabindex: "-1",
      "data-id": card.id,
      "aria-label": description(card),
      onclick: () => grid.send("open", card.id),
    },
    el("span", { class: "crops" }, cropOf(card.query), cropOf(card.key)),
    el(
      "span",
      { class: "facts" },
      el("span", { class: "cosine", text: card.similarity.toFixed(3), title: "Cosine similarity of the two RoIs" }),
      " ",
      el("span", {
        class: "margin",
        text: marginText(card.margin),
        title: "Margin over the next best key in this neighbour",
      }),
      " ",
      wayBack(card.cycle),
      ...card.tags.flatMap((text) => [" ", el("span", { class: "badge tag", text })]),
    ),
    " ",
    el("span", {
      class: "names",
      text: `${card.query.name} → ${card.key.name}`,
      title: `Neighbour ${card.neighbor_rank}`,
    }),
  );
  return el("div", { class: `card ${card.verdict ?? ""}` }, opener, verdictButtons(card, grid));
}

/**
 * @param {Element} card
 * @param {Judgement | null} verdict
 */
export function showVerdict(card, verdict) {
  card.className = `card ${verdict ?? ""}`;
  for (const button of card.querySelectorAll(".verdict")) {
    button.setAttribute("aria-pressed", String(button.classList.contains(verdict ?? "none")));
  }
}
