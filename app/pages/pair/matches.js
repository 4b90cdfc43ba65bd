// @ts-check
// The best match of one RoI in each neighbour: crops that open the neighbour.

import { el, icon, picture } from "../../components/dom.js";
import { numbered } from "../../components/entry.js";
import { cropUrl } from "../../components/urls.js";

/** @import { BestMatchItem, BestMatchList as MatchesData, PairPayload } from "./component_types.js" */
/** @import { PairView } from "./view.js" */

export class Matches {
  /** @param {PairView} view */
  constructor(view) {
    this.view = view;
    this.title = el("strong");
    this.list = el("div", { class: "match-list" });
    const close = el("button", {
      type: "button",
      class: "tool",
      title: "Close (Esc)",
      "aria-label": "Close the best matches",
      onclick: () => view.clear(),
    });
    close.append(icon("wrong"));
    this.root = el(
      "section",
      { class: "matches", "aria-label": "Best matches", hidden: true },
      el("header", {}, this.title, close),
      this.list,
    );
  }

  /** @param {PairPayload} data */
  setData(data) {
    const { matches } = data;
    this.root.hidden = !matches;
    if (!matches) return;
    const side = matches.side === "query" ? "query" : "neighbour";
    this.title.textContent = `Best matches of ${side} RoI ${matches.index + 1}`;
    this.list.replaceChildren(...matches.items.map((item) => this.card(item, matches, data)));
  }

  /**
   * @param {BestMatchItem} item
   * @param {MatchesData} matches
   * @param {PairPayload} data
   */
  card(item, matches, data) {
    const other = item.rank ? `neighbour ${item.rank}` : "the other photo";
    const where = item.rank === null ? "query" : other;
    const known = item.box !== null;
    const cosine = known ? item.similarity.toFixed(3) : "not embedded";
    const crop = el(
      "span",
      { class: "match-crop" },
      known ? picture(cropUrl(data.crop_url, item.id, item.box), {}) : icon("photo"),
      el("span", { class: "thumb-rank", text: item.rank === null ? "Q" : item.rank || "+" }),
    );
    const best = known && item.similarity === Math.max(...matches.items.map(({ similarity }) => similarity ?? -2));
    return el(
      "button",
      {
        type: "button",
        class: `match${best ? " best" : ""}`,
        "data-rank": item.rank ?? 0,
        "aria-current": item.rank === null || item.rank === data.neighbor?.rank ? "true" : null,
        "aria-label": `${where}: ${cosine}`,
        title: known
          ? `${where}, RoI ${item.index + 1}`
          : `${where}: not embedded yet. Open the neighbour to embed its boxes`,
        onclick: () => this.go(item, matches, data),
      },
      crop,
      el("span", { class: "match-text", text: cosine }),
    );
  }

  /**
   * @param {BestMatchItem} item
   * @param {MatchesData} matches
   * @param {PairPayload} data
   */
  go(item, { side, index }, data) {
    const [q, k] = side === "query" ? [index, item.index] : [item.index, index];
    if (item.rank === null || item.rank === data.neighbor?.rank) {
      if (item.index !== null) this.view.selectBoxes(q, k, item.similarity);
    } else this.view.send("match", numbered({ rank: item.rank, q, k }));
  }
}
