// @ts-check
// The query's neighbours in a row.

import { el, picture } from "../../components/dom.js";
import { plural } from "../../components/words.js";

/** @import { NeighborThumb, PairPayload } from "./component_types.js" */
/** @import { PairView } from "./view.js" */

export class Filmstrip {
  /** @param {PairView} view */
  constructor(view) {
    this.view = view;
    this.drawn = ""; // the neighbours, as text
    this.root = el("div", { class: "filmstrip", role: "group", "aria-label": "Nearest neighbours" });
  }

  /** @param {PairPayload} data */
  setData({ neighbors, neighbor }) {
    const drawn = JSON.stringify(neighbors);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.root.replaceChildren(...neighbors.map((item) => this.thumb(item)));
    }
    this.root.hidden = neighbors.length === 0;
    this.mark(neighbor?.rank);
  }

  /** @param {NeighborThumb} neighbor */
  thumb({ rank, name, thumb, similarity, pairs }) {
    const cosine = similarity.toFixed(3);
    const found = pairs === null ? "not embedded" : plural(pairs, "pair");
    const image = picture(thumb, { loading: "lazy" });
    return el(
      "button",
      {
        type: "button",
        class: "film",
        "data-rank": rank,
        title: name,
        "aria-label": `${rank ? `Neighbour ${rank}` : "No neighbour"} ${cosine} ${found}, cosine and pairs: ${name}`,
        onclick: () => this.view.goTo(rank),
      },
      el("span", { class: "thumb" }, image, el("span", { class: "thumb-rank", text: rank || "+" })),
      " ",
      el("span", { class: "film-text" }, el("b", { text: cosine }), " ", el("span", { text: found })),
    );
  }

  /** @param {number | undefined} rank */
  mark(rank) {
    for (const button of /** @type {Iterable<HTMLElement>} */ (this.root.children)) {
      const current = Number(button.dataset.rank) === rank;
      button.removeAttribute("aria-current");
      if (!current) continue;
      button.setAttribute("aria-current", "true");
      // Only the strip scrolls: scrollIntoView would move the page as well.
      const { scrollLeft, clientWidth } = this.root;
      const { offsetLeft, offsetWidth } = button;
      if (offsetLeft < scrollLeft) this.root.scrollLeft = offsetLeft - 8;
      else if (offsetLeft + offsetWidth > scrollLeft + clientWidth)
        this.root.scrollLeft = offsetLeft + offsetWidth - clientWidth + 8;
    }
  }
}
