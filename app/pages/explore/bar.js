// @ts-check
// Actions on the selected photos. Built once: a rerun must not remove a tag that is being typed.

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
    this.out = act("", () => this.mark(this.letsIn ? "let_in" : "keep_out"));
    this.letsIn = false; // all selected photos are kept out of mining
    root.replaceChildren(
      this.count,
      this.word,
      this.known,
      act("Tag", () => this.mark("tag")),
      act("Untag", () => this.mark("untag"), "Remove your tag from these photos"),
      act("Keep as a selection", () => this.mark("keep"), "Store these photos as a selection with its own link"),
      this.out,
      act("Select page", () => gallery.chooseAll()),
      act("Select none", () => gallery.chooseNone()),
    );
    root.setAttribute("role", "toolbar");
    root.setAttribute("aria-label", "Selected photos");
  }

  /** @param {string[]} tags to offer */
  setTags(tags) {
    this.known.replaceChildren(...tags.map((value) => el("option", { value })));
  }

  /**
   * @param {number} chosen
   * @param {boolean} letsIn whether all of them are kept out of mining
   */
  paint(chosen, letsIn) {
    this.root.hidden = chosen === 0;
    this.letsIn = letsIn;
    this.out.textContent = letsIn ? "Let into mining again" : "Keep out of mining";
    this.out.title = letsIn ? "Let mining use these photos again" : "Leave these photos out whenever a set is mined";
    this.count.textContent = `${plural(chosen, "photo")} selected`;
  }

  /** @param {"tag" | "untag" | "keep" | "keep_out" | "let_in"} action */
  mark(action) {
    const tag = this.word.value.trim();
    if ((action === "tag" || action === "untag") && !tag) this.word.focus();
    else this.gallery.mark(action, tag);
  }
}
