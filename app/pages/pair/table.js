// @ts-check
// The table of pairs: a text equivalent of the stage, with a crop of each RoI.

import { wordsOn } from "../../components/colours.js";
import { cropPicture } from "../../components/crop.js";
import { el, icon, noPicture } from "../../components/dom.js";
import { clamp } from "../../components/numbers.js";
import { sizeText } from "../../components/stage/geometry.js";
import { cropUrl } from "../../components/urls.js";
import { VERDICTS } from "../../components/verdicts.js";

/** @import { PairPayload, ShownPhoto } from "./component_types.js" */
/** @import { KeptPair, PairView } from "./view.js" */

export class PairTable {
  /** @param {PairView} view */
  constructor(view) {
    this.view = view;
    this.body = el("tbody");
    this.message = el("div", { class: "empty" });
    this.judgeHead = el("th", { scope: "col", class: "judge", text: "Verdict" });
    const heads = ["#", "Query RoI", "Neighbour RoI", "Similarity"].map((text) => el("th", { scope: "col", text }));
    const caption = el("caption", { class: "sr", text: "Pairs of RoIs, most similar first; sizes in pixels" });
    this.table = el("table", {}, caption, el("thead", {}, el("tr", {}, ...heads, this.judgeHead)), this.body);
    this.root = el("div", { class: "pairs" }, this.table, this.message);
  }

  /** @param {PairPayload} data */
  setData(data) {
    this.judgeHead.hidden = !data.can_judge;
    this.rows = this.view.drawn().map((pair) => this.row(pair, data));
    this.note = el("td", { colspan: 5 });
    const note = this.view.outside && el("tr", { class: "note" }, this.note);
    this.body.replaceChildren(...[note, ...this.rows.map(({ node }) => node)].filter(Boolean));
    this.paint();
  }

  /**
   * @param {ShownPhoto | null} photo
   * @param {number[] | undefined} box
   * @param {string} side
   */
  crop(photo, box, side) {
    if (!photo || !box) return el("td", { class: "crop" });
    const props = { loading: "lazy", alt: `${side} region, ${sizeText(box)} px` };
    const missing = () => el("span", { class: "crop-missing" }, noPicture());
    return el(
      "td",
      { class: "crop" },
      cropPicture(cropUrl(this.view.data.crop_url, photo.id, box, photo), props, missing),
      el("span", { class: "roi-size", text: sizeText(box) }),
    );
  }

  /**
   * @param {KeptPair} pair
   * @param {PairPayload} data
   */
  row(pair, { query, neighbor, can_judge: canJudge }) {
    const { view } = this;
    const bar = el("span", { class: "bar" }, el("span", { style: `width: ${clamp(pair.similarity, 0, 1) * 100}%` }));
    const chip = el("span", { class: "chip-html", text: pair.sign ?? pair.number });
    const buttons = VERDICTS.map(({ name, word, key }) =>
      el(
        "button",
        {
          type: "button",
          class: `verdict ${name}`,
          title: `${word} pair (${key.toUpperCase()})`,
          "aria-label": `${word} pair: pair ${pair.number || "outside the set"}`,
          onclick: () => view.judge(pair, name),
        },
        icon(name),
      ),
    );
    const node = el(
      "tr",
      {
        tabindex: 0,
        "data-pair": pair.number,
        onclick: (/** @type {MouseEvent} */ event) =>
          /** @type {Element} */ (event.target).closest("button") || view.select(pair),
        onmouseenter: () => view.hover([pair], []),
        onmouseleave: () => view.hover([], []),
        onfocus: () => node.matches(":focus-visible") && view.hover([pair], []),
        onblur: () => node.matches(":hover") || view.hover([], []),
        onkeydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.target !== node || (event.key !== "Enter" && event.key !== " ")) return;
          event.preventDefault();
          view.select(pair);
        },
      },
      el("th", { scope: "row" }, chip),
      this.crop(query, query.boxes[pair.q], "query"),
      this.crop(neighbor, neighbor?.boxes[pair.k], "neighbour"),
      el("td", { class: "similarity" }, el("span", { text: pair.similarity.toFixed(3) }), bar),
      canJudge && el("td", { class: "judge" }, ...buttons),
    );
    node.style.setProperty("--c", pair.color);
    node.style.setProperty("--t", wordsOn(pair.halo));
    return { pair, node, buttons };
  }

  paint() {
    const { view } = this;
    const hot = new Set(view.hotPairs());
    this.note.textContent = view.outside?.note ?? "";
    for (const { pair, node, buttons } of this.rows) {
      node.hidden = !view.isVisible(pair);
      node.classList.toggle("hot", hot.has(pair));
      node.classList.toggle("selected", pair === view.selected);
      if (pair === view.selected) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
      node.dataset.verdict = pair.verdict ?? "";
      buttons.forEach((button, index) =>
        button.setAttribute("aria-pressed", String(pair.verdict === VERDICTS[index].name)),
      );
    }
    const sentence = view.emptySentence();
    this.table.hidden = Boolean(sentence);
    this.message.hidden = !sentence;
    this.message.replaceChildren(el("p", { text: sentence }));
    if (sentence && view.pairs.length)
      this.message.append(
        el("button", {
          type: "button",
          class: "plain",
          text: "Show all pairs",
          onclick: () => view.setThreshold(null),
        }),
      );
  }

  /**
   * Scrolls only the table, and only if the row is not visible.
   * @param {KeptPair} pair
   */
  reveal(pair) {
    const row = this.rows.find((entry) => entry.pair === pair)?.node;
    if (!row || row.hidden) return;
    const head = this.table.tHead.offsetHeight;
    const { scrollTop, clientHeight } = this.root;
    if (row.offsetTop - head < scrollTop) this.root.scrollTop = row.offsetTop - head;
    else if (row.offsetTop + row.offsetHeight > scrollTop + clientHeight)
      this.root.scrollTop = row.offsetTop + row.offsetHeight - clientHeight;
  }
}
