// @ts-check
// The guided start. Once dismissed, it stays away in this browser.

import { el } from "../../components/dom.js";
import { entry, numbered } from "../../components/entry.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { GuidePayload, GuideStep } from "./steps_types.js" */

const SEEN = "orl-guide";
const SIGNS = { done: "✓ done", next: "next", later: "later" };

class Guide {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Send | undefined} */
    this.send = undefined;
    this.drawn = "";
  }

  /** @param {GuidePayload} data */
  setData(data) {
    this.root.hidden = localStorage.getItem(SEEN) === "seen";
    const now = JSON.stringify(data);
    if (this.root.hidden || now === this.drawn) return; // else a press could miss its button
    this.drawn = now;
    const dismiss = el("button", {
      type: "button",
      class: "dismiss",
      text: "Got it",
      title: "Do not show this again in this browser",
      onclick: () => this.dismiss(),
    });
    this.root.setAttribute("aria-label", "The three stages");
    this.root.replaceChildren(
      el("div", { class: "top" }, el("h2", { text: "Three stages" }), dismiss),
      el("ol", {}, ...data.steps.map((step) => this.step(step))),
    );
  }

  /** @param {GuideStep} step */
  step(step) {
    const links = step.links.map(({ text, page }) =>
      el("button", { type: "button", text, onclick: () => this.send?.("open", numbered({ page })) }),
    );
    return el(
      "li",
      { class: step.state, "aria-current": step.state === "next" ? "step" : null },
      el("h3", {}, step.title, el("span", { class: "sign", text: SIGNS[step.state] })),
      el("p", { text: step.said }),
      el("div", { class: "links" }, ...links),
    );
  }

  dismiss() {
    localStorage.setItem(SEEN, "seen");
    this.root.hidden = true;
  }

  destroy() {}
}

export default entry(".guide", Guide);
