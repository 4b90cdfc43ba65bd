// @ts-check
// What is done with the chosen photos. Built once: a rerun must not take the word away that somebody is typing.

import { el } from "../../components/dom.js";
import { plural } from "../../components/words.js";

/** @import { Gallery } from "./gallery.js" */

export class Bar {
  /**
   * @param {HTMLElement} root
   * @param {Gallery} gallery
   */
  constructor(root, gallery) {
    this.root = root;
    this.gallery = gallery;
    this.count = el("span", { class: "count", role: "status" });
    this.word = el("input", { type: "text", class: "word", maxlength: "40", placeholder: "tag", "aria-label": "Tag" });
    this.known = el("datalist", { id: "orl-known-tags" });
    this.word.setAttribute("list", this.known.id);
    this.word.onkeydown = (event) => event.key === "Enter" && this.mark("tag");
    /** @type {(text: string, onclick: () => void, title?: string) => HTMLElement} */
    const act = (text, onclick, title) => el("button", { type: "button", class: "act", text, onclick, title });
    root.replaceChildren(
      this.count,
      this.word,
      this.known,
      act("Tag", () => this.mark("tag")),
      act("Untag", () => this.mark("untag"), "Takes the tag off where you put it on"),
      act("Keep as a selection", () => this.mark("keep"), "Shows these photos alone, under a link"),
      act("All of this page", () => gallery.chooseAll()),
      act("None", () => gallery.chooseNone()),
    );
    root.setAttribute("role", "toolbar");
    root.setAttribute("aria-label", "Chosen photos");
  }

  /** @param {string[]} tags to offer */
  setTags(tags) {
    this.known.replaceChildren(...tags.map((value) => el("option", { value })));
  }

  /** @param {number} chosen */
  paint(chosen) {
    this.root.hidden = chosen === 0;
    this.count.textContent = `${plural(chosen, "photo")} chosen`;
  }

  /** @param {"tag" | "untag" | "keep"} action */
  mark(action) {
    const tag = this.word.value.trim();
    if (action !== "keep" && !tag) this.word.focus();
    else this.gallery.mark(action, tag);
  }
}
