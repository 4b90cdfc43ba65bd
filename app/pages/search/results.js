// @ts-check
// The grid of RoIs that a search found, with one tab stop and arrow-key movement.

import { el, icon, noPicture, picture, svg } from "../../components/dom.js";
import { Drawn } from "../../components/drawn.js";
import { entry, numbered } from "../../components/entry.js";
import { itemAt, MOVES, settle } from "../../components/roving.js";
import { plural } from "../../components/words.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { FoundRoi, ResultsPayload } from "./results_types.js" */

const LOST = { "": "", gone: "photo is gone", unreadable: "photo cannot be read", changed: "photo has changed" };

/** @param {FoundRoi} roi */
function photoOf({ photo, width, height, box: [x, y, w, h], lost }) {
  const instead = () => noPicture(LOST[lost] || "no picture");
  const rect = (/** @type {string} */ name) => svg("rect", { class: name, x, y, width: w, height: h });
  return el(
    "span",
    { class: "whole" },
    el(
      "span",
      { class: "fitted", style: `--ratio: ${width / height}` },
      picture(photo, { loading: "lazy", draggable: "false" }, instead),
      svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, rect("halo"), rect("line")),
    ),
  );
}

export class ResultsGrid extends Drawn {
  /** @param {HTMLElement} root */
  constructor(root) {
    super(root);
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    this.drawn = ""; // the data, as text
    root.setAttribute("role", "group");
    root.onkeydown = (event) => this.keyDown(event);
  }

  /** @param {ResultsPayload | null} data */
  setData(data) {
    if (!data) return;
    this.setFigure(data.figure);
    const drawn = JSON.stringify(data.found);
    if (this.drawn === drawn) return; // a theme change brings the same cards; rebuilding them would drop the focus
    this.drawn = drawn;
    this.root.setAttribute("aria-label", plural(data.found.length, "RoI"));
    this.root.replaceChildren(...data.found.map((roi) => this.card(roi)));
    const openers = this.openers();
    if (openers.length) settle(openers, openers[0]);
  }

  /** @returns {HTMLElement[]} */
  openers() {
    return [...this.root.querySelectorAll(/** @type {"button"} */ (".open"))];
  }

  /** @param {FoundRoi} roi */
  card(roi) {
    const { id, rank, name, crop, large, similarity, category, lost } = roi;
    const cosine = similarity.toFixed(3);
    const facts = [rank, cosine, category, LOST[lost]].filter(Boolean); // as they are read on the card
    const open = el(
      "button",
      {
        type: "button",
        class: "open",
        tabindex: "-1",
        "data-id": id,
        title: "Open as a pair (Enter)",
        "aria-label": `${facts.join(" ")} ${name}: rank, cosine and name`,
        onclick: () => this.send("open", numbered({ id })),
      },
      el(
        "span",
        { class: "pictures" },
        el("span", { class: "crop" }, picture(crop, { loading: "lazy", draggable: "false" })),
        photoOf(roi),
      ),
      el(
        "span",
        { class: "facts" },
        el("span", { class: "rank", text: rank }),
        " ",
        el("span", { class: "cosine", text: cosine, title: "Cosine similarity to the box that is searched with" }),
        " ",
        category && el("span", { class: "badge", text: category, title: "Annotated object that the RoI covers" }),
        " ",
        lost && el("span", { class: "badge lost", text: LOST[lost] }),
      ),
      " ",
      el("span", { class: "name", text: name, title: name }),
    );
    const again = "Search with this RoI (S)";
    const photo = "Open the photo (P)";
    return el(
      "div",
      { class: "card" },
      open,
      el(
        "span",
        { class: "actions" },
        el(
          "button",
          {
            type: "button",
            tabindex: "-1",
            title: again,
            "aria-label": `${again}: ${name}`,
            onclick: () => this.send("search", numbered({ id })),
          },
          icon("search"),
        ),
        el(
          "a",
          {
            href: large,
            target: "_blank",
            rel: "noopener",
            tabindex: "-1",
            title: photo,
            "aria-label": `${photo}: ${name}`,
          },
          icon("photo"),
        ),
      ),
    );
  }

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    const openers = this.openers();
    const index = openers.findIndex((opener) => opener === event.target);
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "s" && !event.repeat) this.send("search", numbered({ id: Number(openers[index].dataset.id) }));
    if (key === "p") openers[index].parentElement.querySelector("a").click();
    if (!MOVES.has(event.key)) return;
    event.preventDefault();
    const target = itemAt(openers, index, event.key);
    settle(openers, target);
    target.focus();
  }
}

export default entry(".results", ResultsGrid);
