// @ts-check
// The gallery: a responsive grid of photo buttons with one tab stop and arrow-key movement. Photos can be selected
// across pages; the browser keeps the selection until an action is sent.

import { el, icon } from "../../components/dom.js";
import { Drawn } from "../../components/drawn.js";
import { entry } from "../../components/entry.js";
import { itemAt, MOVES, settle } from "../../components/roving.js";
import { plural } from "../../components/words.js";
import { Bar } from "./bar.js";
import { Choice } from "./choice.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { GalleryPayload, PhotoTile } from "./component_types.js" */

export class Gallery extends Drawn {
  /** @param {HTMLElement} root beside a .bar */
  constructor(root) {
    super(root);
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    this.drawn = ""; // the data, as text
    this.choice = new Choice();
    /** @type {PhotoTile[]} */
    this.tiles = [];
    this.keptOut = "";
    this.canMark = false;
    /** @type {number | null} */
    this.scope = null; // a change clears the selection
    this.bar = new Bar(root.parentNode.querySelector(".bar"), this);
    root.setAttribute("role", "group");
    root.onkeydown = (event) => this.keyDown(event);
  }

  /** @param {GalleryPayload | null} data */
  setData(data) {
    if (!data) return;
    const { figure, ...shown } = data;
    this.setFigure(figure);
    const drawn = JSON.stringify(shown);
    // A theme change brings the same tiles again; rebuilding them would drop the focus.
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    const { tiles, selected, tags, scope, can_mark } = shown;
    this.canMark = can_mark;
    if (this.scope !== scope) this.choice.clear();
    this.scope = scope;
    this.tiles = tiles;
    this.keptOut = shown.kept_out;
    this.bar.setTags(tags);
    this.root.setAttribute("aria-label", plural(tiles.length, "photo"));
    this.root.replaceChildren(...tiles.map((tile) => this.cell(tile, selected)));
    const buttons = this.buttons();
    if (buttons.length) settle(buttons, buttons.find((button) => button.hasAttribute("aria-current")) ?? buttons[0]);
    this.paint();
  }

  // -- tiles -----------------------------------------------------------------------------------------

  /** @returns {HTMLElement[]} */
  buttons() {
    return [...this.root.querySelectorAll(/** @type {"button"} */ (".tile"))];
  }

  shownIds() {
    return this.buttons().map(({ dataset }) => Number(dataset.id));
  }

  /**
   * @param {PhotoTile} tile
   * @param {number | null} selected
   */
  cell(tile, selected) {
    const button = this.tile(tile, selected);
    if (!this.canMark) return el("div", { class: "cell" }, button);
    const box = el("input", {
      type: "checkbox",
      tabindex: "-1",
      "aria-label": `Select ${tile.name}`,
      onclick: (/** @type {MouseEvent} */ event) => this.choose(tile.id, event.shiftKey),
    });
    return el("div", { class: "cell" }, button, el("label", { class: "pick", title: "Select (X)" }, box));
  }

  /**
   * @param {PhotoTile} tile
   * @param {number | null} selected
   */
  tile(tile, selected) {
    const tags = tile.tags ?? [];
    return el(
      "button",
      {
        type: "button",
        class: "tile",
        tabindex: "-1",
        "data-id": tile.id,
        // What is seen comes first, as people say it to their voice control.
        "aria-label": [
          tile.name,
          ...tile.badges.map(({ text }) => text),
          ...tags,
          `${tile.width} × ${tile.height} px`,
        ].join(" "),
        "aria-current": tile.id === selected ? "true" : null,
        onclick: (/** @type {MouseEvent} */ event) =>
          this.canMark && (event.ctrlKey || event.metaKey) ? this.choose(tile.id) : this.send("open", tile.id),
      },
      frameOf(tile),
      el("span", { class: "name", title: tile.name, text: tile.name }),
      " ",
      el(
        "span",
        { class: "badges" },
        ...tile.badges.flatMap(({ text, meaning }) => [el("span", { class: "badge", text, title: meaning }), " "]),
        ...tags.flatMap((text) => [el("span", { class: "badge tag", text }), " "]),
      ),
    );
  }

  // -- choosing --------------------------------------------------------------------------------------

  /**
   * @param {number} id
   * @param {boolean} [upTo] also all from the last one
   */
  choose(id, upTo = false) {
    if (upTo) this.choice.upTo(id, this.shownIds());
    else this.choice.flip(id);
    this.paint();
  }

  chooseAll() {
    this.choice.add(this.shownIds());
    this.paint();
  }

  chooseNone() {
    this.choice.clear();
    this.paint();
  }

  /**
   * @param {"tag" | "untag" | "keep" | "keep_out" | "let_in"} action
   * @param {string} tag
   */
  mark(action, tag) {
    this.send("mark", { action, ids: [...this.choice.ids], tag });
  }

  paint() {
    const { ids } = this.choice;
    for (const button of this.buttons()) {
      const cell = button.closest(".cell");
      const chosen = ids.has(Number(button.dataset.id));
      cell.classList.toggle("chosen", chosen);
      const box = /** @type {HTMLInputElement | null} */ (cell.querySelector(".pick input"));
      if (box) box.checked = chosen;
    }
    this.root.classList.toggle("choosing", ids.size > 0);
    const shown = this.tiles.filter(({ id }) => ids.has(id));
    this.bar.paint(ids.size, shown.length > 0 && shown.every(({ tags }) => tags?.includes(this.keptOut)));
  }

  // -- keys ------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    const buttons = this.buttons();
    const tile = /** @type {Element} */ (event.target).closest(".tile");
    const index = buttons.findIndex((button) => button === tile);
    if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.canMark && event.key.toLowerCase() === "x") this.choose(Number(buttons[index].dataset.id), event.shiftKey);
    if (!MOVES.has(event.key)) return;
    event.preventDefault();
    const target = itemAt(buttons, index, event.key);
    settle(buttons, target);
    target.focus();
  }
}

/** @param {PhotoTile} tile */
function frameOf(tile) {
  const frame = el("span", { class: "frame" });
  /** @param {string} note */
  const showNote = (note) => frame.replaceChildren(icon("photo"), el("span", { class: "note", text: note }));
  if (tile.missing) showNote(tile.note || "photo not found on disk");
  else {
    const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => showNote(tile.note || "cannot read photo");
    image.src = tile.thumb;
    frame.append(image);
  }
  return frame;
}

export default entry(".gallery", Gallery);
