// @ts-check
// The menu that saves a view as a figure or copies a link to it.

import { el, icon } from "./dom.js";
import { asPng, figureOf } from "./figure.js";

/** @import { Saveable } from "./figure.js" */

/**
 * @param {Blob} blob
 * @param {string} name
 */
function download(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export class SaveMenu {
  /** @param {Saveable} view */
  constructor(view) {
    this.view = view;
    /**
     * @param {string} name
     * @param {string} text
     * @param {() => Promise<void>} act
     */
    const item = (name, text, act) =>
      el("button", { type: "button", role: "menuitem", "data-save": name, text, onclick: () => this.run(act) });
    this.button = el("button", {
      type: "button",
      class: "opener",
      title: "Save or share this view",
      "aria-label": "Save or share this view",
      "aria-haspopup": "menu",
      onclick: () => this.toggle(),
    });
    this.button.append(icon("save"));
    this.menu = el(
      "div",
      { class: "menu", role: "menu", hidden: true },
      item("png", "Save as PNG", async () => download(await asPng(await figureOf(view)), `${view.fileName()}.png`)),
      item("svg", "Save as SVG", async () => {
        const { text } = await figureOf(view);
        download(new Blob([text], { type: "image/svg+xml" }), `${view.fileName()}.svg`);
      }),
      item("link", "Copy link", () => this.copyLink()),
    );
    this.menu.onkeydown = (event) => this.keyDown(event);
    this.said = el("span", { class: "said", role: "status" });
    this.root = el("div", { class: "save" }, this.button, this.menu, this.said);
  }

  toggle(open = this.menu.hidden) {
    this.menu.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    if (open) /** @type {HTMLElement} */ (this.menu.firstChild).focus();
    else this.button.focus();
  }

  /** @param {() => Promise<void>} act */
  async run(act) {
    this.toggle(false);
    try {
      await act();
    } catch (error) {
      this.say(`Not saved: ${/** @type {Error} */ (error).message}`);
    }
  }

  async copyLink() {
    try {
      await navigator.clipboard.writeText(this.view.link());
      this.say("Link copied");
    } catch {
      // The clipboard needs HTTPS (or localhost) and the person's permission.
      history.replaceState(history.state, "", this.view.link());
      this.say("Cannot copy here. Copy the link from the address bar");
    }
  }

  /** @param {string} text */
  say(text) {
    this.said.textContent = text;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.said.textContent = ""), 4000);
  }

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    const items = /** @type {HTMLElement[]} */ ([...this.menu.children]);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const { activeElement } = /** @type {ShadowRoot} */ (this.menu.getRootNode());
    const at = items.findIndex((item) => item === activeElement);
    items[(at + step + items.length) % items.length].focus();
  }
}
