// @ts-check
// Parts of the pages of a shared folder: components of the explorer in a root of their own, a choice, and a pager.

import { el } from "../components/dom.js";
import { clamp } from "../components/numbers.js";

/**
 * Returns an element with a shadow root, as components have in the explorer.
 * @param {string} style
 * @param {...HTMLElement} content
 */
export function rooted(style, ...content) {
  const host = el("div");
  host.attachShadow({ mode: "open" }).append(el("style", { text: style }), ...content);
  return host;
}

/**
 * @param {string} label
 * @param {string[]} options
 * @param {string} chosen
 * @param {(value: string) => void} onchoice
 */
export function choice(label, options, chosen, onchoice) {
  const select = el("select", {}, ...options.map((text) => el("option", { value: text, text })));
  select.value = options.includes(chosen) ? chosen : options[0];
  select.onchange = () => onchoice(select.value);
  return el("label", {}, el("span", { text: label }), select);
}

/**
 * Returns buttons between pages, or nothing if there is one page. Pages count from 1.
 * @param {number} page
 * @param {number} pages
 * @param {(page: number) => void} turn
 */
export function pager(page, pages, turn) {
  if (pages < 2) return null;
  /** @type {(text: string, label: string, to: number) => HTMLElement} */
  const button = (text, label, to) => {
    const off = clamp(to, 1, pages) === page;
    return el("button", { type: "button", text, "aria-label": label, disabled: off, onclick: () => turn(to) });
  };
  return el(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    button("«", "First page", 1),
    button("‹", "Previous page", page - 1),
    el("span", { text: `Page ${page} of ${pages}` }),
    button("›", "Next page", page + 1),
    button("»", "Last page", pages),
  );
}
