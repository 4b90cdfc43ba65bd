// @ts-check
// The grid of matches: cards with one tab stop and arrow-key movement; G, X and I judge the focused one, T
// tags it, S searches with it.

import { el } from "../../components/dom.js";
import { Drawn } from "../../components/drawn.js";
import { entry, numbered } from "../../components/entry.js";
import { Outbox } from "../../components/outbox.js";
import { itemAt, MOVES, settle } from "../../components/roving.js";
import { VERDICTS } from "../../components/verdicts.js";
import { cardNode, showVerdict } from "./card.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { Judgement } from "../../components/verdicts.js" */
/** @import { Card, MatchesPayload } from "./component_types.js" */

export class MatchGrid extends Drawn {
  /** @param {HTMLElement} root beside the datalist of tags */
  constructor(root) {
    super(root);
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    this.drawn = ""; // the data, as text
    this.canJudge = false;
    /** @type {Map<string, Card>} */
    this.cards = new Map();
    /** @type {MatchesPayload | null} */
    this.waiting = null; // data to draw when the tag field is closed
    this.outbox = new Outbox((said) => this.send("mark", said));
    this.words = root.parentNode.querySelector("datalist");
    root.setAttribute("role", "group");
    root.onkeydown = (event) => this.keyDown(event);
  }

  destroy() {
    this.outbox.stop();
  }

  /** @param {MatchesPayload | null} data */
  setData(data) {
    if (!data) return;
    this.outbox.answered(data.answered);
    this.setFigure(data.figure);
    this.words.replaceChildren(...data.tags.map((value) => el("option", { value })));
    this.draw(data);
  }

  // -- cards -----------------------------------------------------------------------------------------

  /** @returns {HTMLElement[]} */
  openers() {
    return [...this.root.querySelectorAll(/** @type {"button"} */ (".match"))];
  }

  /** @param {string} id */
  opener(id) {
    return /** @type {HTMLElement | null} */ (this.root.querySelector(`.match[data-id="${id}"]`));
  }

  /** @param {MatchesPayload} data */
  draw(data) {
    const drawn = JSON.stringify([data.cards, data.can_judge]);
    // A theme change brings the same cards again; rebuilding them would drop the focus.
    if (this.drawn === drawn) return;
    // New cards must not remove an open tag field: the next letter would set a verdict.
    const typing = this.root.querySelector(".word") !== null;
    this.waiting = typing ? data : null;
    if (typing) return;
    const { activeElement } = /** @type {ShadowRoot} */ (this.root.getRootNode());
    const focused = this.openers().findIndex((opener) => opener === activeElement);
    const before = this.openers()[focused]?.dataset.id;
    this.drawn = drawn;
    this.canJudge = data.can_judge;
    this.cards = new Map(data.cards.map((card) => [card.id, card]));
    this.root.setAttribute("aria-label", `${data.cards.length} match${data.cards.length === 1 ? "" : "es"}`);
    this.root.replaceChildren(...data.cards.map((card) => cardNode(card, this)));
    for (const [id, { verdict }] of this.outbox.verdicts) this.showVerdict(id, verdict);
    const openers = this.openers();
    if (!openers.length) return;
    // A judged card may have left the grid. Move the keyboard focus to the next one.
    const next = openers.find(({ dataset }) => dataset.id === before) ?? openers[Math.min(focused, openers.length - 1)];
    settle(openers, next ?? openers[0]);
    next?.focus({ preventScroll: true });
  }

  /**
   * @param {string} id
   * @param {Judgement | null} verdict
   */
  showVerdict(id, verdict) {
    const card = this.opener(id)?.closest(".card");
    if (card) showVerdict(card, verdict);
  }

  // -- verdicts and tags -----------------------------------------------------------------------------

  /**
   * @param {string} id
   * @param {Judgement} chosen removed if it is the current verdict
   */
  judge(id, chosen) {
    const { verdicts } = this.outbox;
    const had = verdicts.has(id) ? verdicts.get(id).verdict : this.cards.get(id).verdict;
    const verdict = had === chosen ? null : chosen;
    this.showVerdict(id, verdict); // until new data arrives
    this.outbox.judge(id, verdict);
  }

  /**
   * Opens a field over the card. Enter adds or removes the tag; Escape and leaving the field cancel.
   * @param {string} id
   */
  askForTag(id) {
    const opener = this.opener(id);
    const field = el("input", {
      type: "text",
      class: "word",
      maxlength: "40",
      placeholder: "tag",
      "aria-label": "Tag",
    });
    field.setAttribute("list", this.words.id);
    const close = () => {
      field.onblur = null;
      field.remove();
      opener.focus({ preventScroll: true });
      if (this.waiting) this.draw(this.waiting);
    };
    field.onblur = close;
    field.onkeydown = (event) => {
      event.stopPropagation(); // letters are text here, not shortcuts
      if (event.key === "Enter") event.preventDefault(); // it would open the card, which then has the focus
      if (event.key === "Enter" && field.value.trim()) this.tag(id, field.value);
      if (event.key === "Enter" || event.key === "Escape") close();
    };
    opener.closest(".card").append(field);
    field.focus();
  }

  /** @param {string} id */
  search(id) {
    this.send("search", numbered({ id }));
  }

  /**
   * @param {string} id
   * @param {string} text the tag; removed if the match has it
   */
  tag(id, text) {
    const tag = text.trim().replace(/\s+/g, " ");
    this.outbox.tag({ id, tag, on: !this.cards.get(id).tags.includes(tag) });
  }

  // -- keys ------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    const openers = this.openers();
    const match = /** @type {Element} */ (event.target).closest(".match");
    const index = openers.findIndex((opener) => opener === match);
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const { id } = openers[index].dataset;
    const verdict = VERDICTS.find((each) => each.key === key)?.name;
    if (verdict && this.canJudge && !event.repeat) this.judge(id, verdict);
    if (key === "s" && !event.repeat) this.search(id);
    if (key === "t" && this.canJudge) {
      event.preventDefault();
      this.askForTag(id);
    }
    if (!MOVES.has(event.key)) return;
    event.preventDefault();
    const target = itemAt(openers, index, event.key);
    settle(openers, target);
    target.focus();
  }
}

export default entry(".matches", MatchGrid);
