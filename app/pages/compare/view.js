// @ts-check
// Two sets side by side on one query and one neighbour: pairs in both, only in the first, only in the second.

import { lastingLink } from "../../components/address.js";
import { haloed, SKY, VERMILION, wordsOn, YELLOW } from "../../components/colours.js";
import { el, noPicture, picture, svg } from "../../components/dom.js";
import { entry, numbered } from "../../components/entry.js";
import { SaveMenu } from "../../components/save.js";
import { stagesDrawn } from "../../components/stage/figure.js";
import { sizeText } from "../../components/stage/geometry.js";
import { Keys } from "../../components/stage/keys.js";
import { Looking } from "../../components/stage/looking.js";
import { Stage } from "../../components/stage/stage.js";
import { cropUrl } from "../../components/urls.js";
import { fileStem } from "../../components/words.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { DrawnPair } from "../../components/stage/looking.js" */
/** @import { BoxRecord } from "../../components/stage/side.js" */
/** @import { ComparedPair, ComparedRow, ComparedThumb, ComparePayload, Pane as PaneData } from "./component_types.js" */
/** @import { ShownPhoto } from "../pair/component_types.js" */

/** @typedef {ComparedPair["status"]} Status */
/** @typedef {ComparedPair & DrawnPair & { status: Status }} Compared */

// The statuses also differ in line style, and in the sign in each row of the table.
/** @type {Record<Status, { color: string, halo: string, sign: string, text: string }>} */
const STATUSES = {
  kept: { ...haloed(SKY), sign: "=", text: "in both sets" },
  lost: { ...haloed(VERMILION), sign: "−", text: "only in A" },
  new: { ...haloed(YELLOW), sign: "+", text: "only in B" },
};
const KINDS = /** @type {Status[]} */ (Object.keys(STATUSES));
const SIDE_BY_SIDE = 1180; // CSS pixels from which two stages stand beside each other

// One set's stage. The view handles pointing and selection, for both stages.
/** @extends {Looking<Compared, PaneData>} */
class Pane extends Looking {
  /** @param {CompareView} owner */
  constructor(owner) {
    super(el("section", { class: "pane" }));
    this.owner = owner;
    this.title = el("strong");
    this.note = el("span", { class: "muted" });
    /** @type {Stage} */
    this.stage = new Stage(this);
    this.root.append(el("header", { class: "pane-head" }, this.title, this.note), this.stage.root);
  }

  share() {
    return this.owner.root.classList.contains("beside") ? 0.55 : 0.4;
  }

  /** @param {Compared} pair */
  isVisible(pair) {
    return this.owner.shown[pair.status];
  }

  /** @param {PaneData} data */
  setData(data) {
    this.data = data;
    this.title.textContent = data.title;
    this.note.textContent = data.note;
    this.root.setAttribute("aria-label", data.title);
    this.pairs = data.pairs.map((pair) => {
      const { color, halo } = STATUSES[pair.status]; // no sign here: pairs show their numbers
      return { ...pair, color, halo };
    });
    this.focusRecord = null;
    this.stage.setData(data);
  }

  highlight() {
    this.owner.lit(this);
  }

  /** @param {BoxRecord} record */
  choose(record) {
    const pairs = this.pairsOf(record);
    if (pairs.length === 1) return this.select(pairs[0]);
    this.focusRecord = record;
    return this.stage.paint();
  }

  /** @param {Compared} pair */
  select(pair) {
    this.owner.select(pair.id);
  }

  clear() {
    this.owner.clear();
  }
}

class CompareView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    /** @type {ComparePayload | null} */
    this.data = null;
    /** @type {string | null} */
    this.selected = null; // id of a pair
    /** @type {{ id: string, status: Status, node: HTMLTableRowElement }[]} */
    this.rows = [];
    this.shown = { kept: true, lost: true, new: true };
    this.strip = el("div", { class: "filmstrip", role: "group", "aria-label": "Neighbours in either set" });
    this.toggles = KINDS.map((status) => this.toggle(status));
    this.said = el("span", {
      class: "muted",
      text: "← → query · ↑ ↓ neighbour · Z zoom to pair · 0 reset · hold H: photos only",
    });
    this.save = new SaveMenu(this);
    this.panes = [new Pane(this), new Pane(this)];
    for (const pane of this.panes) pane.stage.inStep = this.panes.map((other) => other.stage);
    this.body = el("tbody");
    const heads = ["", "Pair", "Query RoI", "Neighbour RoI", "Similarity in A", "Similarity in B"];
    this.table = el(
      "table",
      {},
      el("caption", {
        class: "sr",
        text: "Pairs with this neighbour: = in both sets, − only in A, + only in B",
      }),
      el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col", text })))),
      this.body,
    );
    this.empty = el("div", { class: "empty", text: "Neither set has a pair of these two photos." });
    root.replaceChildren(
      this.strip,
      el(
        "div",
        { class: "toolbar", role: "toolbar", "aria-label": "Pairs" },
        el("div", { class: "group" }, ...this.toggles.map(({ button }) => button)),
        this.said,
        this.save.root,
      ),
      el("div", { class: "panes" }, ...this.panes.map((pane) => pane.root)),
      el("div", { class: "pairs" }, this.table, this.empty),
    );
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(root);
    this.keys = new Keys(this);
  }

  destroy() {
    this.resizer.disconnect();
    for (const pane of this.panes) pane.stage.stopTween();
    this.keys.destroy();
  }

  resize() {
    this.root.classList.toggle("beside", this.root.clientWidth >= SIDE_BY_SIDE);
    for (const pane of this.panes) pane.stage.layout();
  }

  /** @param {Status} status */
  toggle(status) {
    const { sign, text, color } = STATUSES[status];
    const d = "M1 4h32";
    const shape = { class: `swatch ${status}`, viewBox: "0 0 34 8", "aria-hidden": "true" };
    const count = el("b");
    const button = el(
      "button",
      {
        type: "button",
        class: "toggle",
        "data-status": status,
        onclick: () => this.show(status, !this.shown[status]),
      },
      svg("svg", shape, svg("path", { d, class: "halo" }), svg("path", { d, class: "line", stroke: color })),
      count,
      el("span", { text: `${sign} ${text}` }),
    );
    return { status, button, count };
  }

  /**
   * @param {Status} status
   * @param {boolean} on
   */
  show(status, on) {
    this.shown[status] = on;
    this.paint();
  }

  /** @param {ComparePayload} data */
  setData(data) {
    if (!data || data === this.data) return;
    this.data = data;
    this.resize();
    this.panes.forEach((pane, index) => pane.setData(data.panes[index]));
    const counts = { kept: 0, lost: 0, new: 0 };
    for (const { status } of data.rows) counts[status] += 1;
    for (const { status, count } of this.toggles) count.textContent = String(counts[status]);
    this.strip.replaceChildren(...data.neighbors.map((neighbor) => this.thumb(neighbor)));
    this.strip.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.rows = data.rows.map((row) => this.row(row));
    this.body.replaceChildren(...this.rows.map(({ node }) => node));
    this.table.hidden = !data.rows.length;
    this.empty.hidden = data.rows.length > 0;
    this.mark(data.selected);
    for (const url of data.prefetch) new Image().src = url;
  }

  /** @param {ComparedThumb} neighbor */
  thumb({ id, name, thumb, status, first, second, counts }) {
    const { sign, text, color } = STATUSES[status];
    const ranks = [first && `A ${first.rank}`, second && `B ${second.rank}`].filter(Boolean).join(" · ");
    const both = KINDS.map((kind) => `${STATUSES[kind].sign}${counts[kind]}`).join(" ");
    return el(
      "button",
      {
        type: "button",
        class: `film ${status}`,
        "data-neighbor": id,
        title: name,
        "aria-current": id === this.data.neighbor ? "true" : null,
        style: `--c: ${color}`,
        // What is seen comes first, as people say it to their voice control.
        "aria-label": `${sign} ${ranks} ${both}, neighbour ${text}: ${name}; pairs kept, lost and new`,
        onclick: () => this.send("neighbor", id),
      },
      el(
        "span",
        { class: "thumb" },
        picture(thumb, { loading: "lazy" }),
        el("span", { class: "thumb-rank", text: `${sign} ${ranks}` }),
      ),
      " ",
      el("span", { class: "film-text" }, el("b", { text: both })),
    );
  }

  /** @param {ComparedRow} row */
  row({ id, number, status, boxes, similarity }) {
    const { color, halo, sign } = STATUSES[status];
    /** @type {(photo: ShownPhoto, box: number[], side: string) => HTMLElement} */
    const crop = (photo, box, side) => {
      const props = { loading: "lazy", alt: `${side} region, ${sizeText(box)} px` };
      const missing = () => el("span", { class: "crop-missing" }, noPicture());
      return el("td", { class: "crop" }, picture(cropUrl(this.data.crop_url, photo.id, box), props, missing));
    };
    /** @param {number | null} value */
    const cosine = (value) => el("td", { class: "similarity", text: value === null ? "–" : value.toFixed(3) });
    const { query, neighbor } = this.data.panes[0];
    const node = el(
      "tr",
      {
        tabindex: 0,
        "data-id": id,
        "data-status": status,
        onclick: () => this.select(id),
        onmouseenter: () => this.point(id),
        onmouseleave: () => this.point(null),
        onkeydown: (/** @type {KeyboardEvent} */ event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          this.select(id);
        },
      },
      el("td", { class: "sign", text: sign, "aria-label": STATUSES[status].text }),
      el("th", { scope: "row" }, el("span", { class: "chip-html", text: number })),
      crop(query, boxes[0], "query"),
      crop(neighbor, boxes[1], "neighbour"),
      ...similarity.map(cosine),
    );
    node.style.setProperty("--c", color);
    node.style.setProperty("--t", wordsOn(halo));
    return { id, status, node };
  }

  /**
   * Highlights in the other pane what is pointed at in one.
   * @param {Pane} from
   */
  lit(from) {
    const ids = new Set(from.hoverPairs.map(({ id }) => id));
    for (const pane of this.panes) {
      if (pane === from) continue;
      pane.hoverPairs = pane.pairs.filter(({ id }) => ids.has(id));
      pane.hoverRecords = [];
    }
    this.paint();
  }

  /** @param {string | null} id */
  point(id) {
    for (const pane of this.panes) pane.hoverPairs = pane.pairs.filter((pair) => pair.id === id);
    this.paint();
  }

  /** @param {string | null} id */
  mark(id) {
    this.selected = id;
    for (const pane of this.panes) {
      pane.selected = pane.pairs.find((pair) => pair.id === id) ?? null;
      pane.focusRecord = null;
    }
    this.paint();
  }

  /** @param {string | null} id */
  select(id) {
    this.mark(id);
    this.send("pick", numbered({ id }));
  }

  clear() {
    const open = this.panes.some(({ focusRecord }) => focusRecord);
    if (this.selected && !open) this.select(null);
    else this.mark(this.selected);
  }

  paint() {
    for (const [name, on] of Object.entries(this.shown)) this.root.classList.toggle(`no-${name}`, !on);
    for (const { status, button } of this.toggles) button.setAttribute("aria-pressed", String(this.shown[status]));
    for (const pane of this.panes) pane.stage.paint();
    const hot = new Set(this.panes.flatMap((pane) => pane.hotPairs()).map(({ id }) => id));
    for (const { id, status, node } of this.rows) {
      node.hidden = !this.shown[status];
      node.classList.toggle("hot", hot.has(id));
      node.classList.toggle("selected", id === this.selected);
      if (id === this.selected) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
    }
  }

  /** @param {number} offset */
  goBy(offset) {
    const ids = this.data.neighbors.map(({ id }) => id);
    const next = ids[ids.indexOf(this.data.neighbor) + offset];
    if (next !== undefined) this.send("neighbor", next);
  }

  zoomToPair() {
    const pane = this.panes.find(({ selected }) => selected) ?? this.panes.find(({ pairs }) => pairs.length);
    const pair = pane?.selected ?? pane?.pairs[0];
    if (pair) pane.stage.zoomToPair(pair);
  }

  /** @param {string} key */
  actionOf(key) {
    return {
      ArrowLeft: () => this.send("step", -1),
      ArrowRight: () => this.send("step", 1),
      ArrowUp: () => this.goBy(-1),
      ArrowDown: () => this.goBy(1),
      z: () => this.zoomToPair(),
      0: () => this.panes[0].stage.resetZoom(),
      Escape: () => (this.save.menu.hidden ? this.clear() : this.save.toggle(false)),
    }[key];
  }

  // -- what is saved, as SaveMenu asks for it --------------------------------------------------------

  picture() {
    return stagesDrawn(
      this.root,
      this.panes.map((pane) => [pane.stage, pane.data.title]),
    );
  }

  captionLines() {
    const counts = this.toggles.map(({ status, count }) => {
      const { sign, text } = STATUSES[status];
      return `${sign} ${count.textContent} ${text}${this.shown[status] ? "" : " (hidden)"}`;
    });
    return [...this.data.caption, `Pairs with this neighbour: ${counts.join(" · ")}.`];
  }

  fileName() {
    const { query, neighbor } = this.data.panes[0];
    return `compare-${fileStem(query)}-${fileStem(neighbor)}`;
  }

  link() {
    return lastingLink(this.data.place);
  }
}

export default entry(".compare-view", CompareView);
