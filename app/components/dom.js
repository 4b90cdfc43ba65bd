// @ts-check
// Small DOM helpers of all components. Data enters the page only as text nodes and attributes, never as markup, so
// a file name cannot inject anything.

/**
 * Attributes. Null and false are not set. "text" is the text content, "on…" a listener.
 * @typedef {Record<string, unknown>} Props
 * @typedef {Node | string | null | undefined | false} Child
 */

export const SVG_NS = "http://www.w3.org/2000/svg";

/**
 * @template {Element} T
 * @param {T} node
 * @param {Props} props
 * @param {Child[]} [children]
 * @returns {T}
 */
export function fill(node, props, children = []) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = String(value);
    else if (name.startsWith("on")) Object.assign(node, { [name]: value });
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child) node.append(child);
  return node;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 */
export const el = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 */
export const svg = (tag, props = {}, ...children) => fill(document.createElementNS(SVG_NS, tag), props, children);

// 16 × 16 stroke icons; they follow the text colour.
const ICONS = {
  boxes: "M2.5 2.5h6v6h-6zM7.5 10.5v3h6v-6h-3",
  links: "M2 4.5c5 0 7 7 12 7M2 4.5h0M14 11.5h0",
  rejected: "M3 3h10v10H3zM3 13 13 3",
  attention: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 6.2a1.8 1.8 0 1 0 .01 0z",
  zoom: "M7 2.5a4.5 4.5 0 1 0 .01 0zM10.3 10.3 14 14M7 5v4M5 7h4",
  search: "M7 2.5a4.5 4.5 0 1 0 .01 0zM10.3 10.3 14 14",
  reset: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  good: "M3 8.5 6.5 12 13 4.5",
  wrong: "M4 4l8 8M12 4l-8 8",
  interesting: "M8 1.8l1.9 4 4.4.6-3.2 3 .8 4.4L8 11.7l-3.9 2.1.8-4.4-3.2-3 4.4-.6z",
  matrix: "M2.5 2.5h11v11h-11zM2.5 6.2h11M2.5 9.8h11M6.2 2.5v11M9.8 2.5v11",
  save: "M8 2.5v7.5M4.8 7 8 10.2 11.2 7M2.5 13.5h11",
  bell: "M3 12h10l-1.2-2V7a3.8 3.8 0 0 0-7.6 0v3zM6.8 14h2.4",
  photo: "M2 3h12v10H2zM2 11l3.5-3.5 3 3L11 8l3 3M10.5 5.5h.01",
};

/** @typedef {keyof typeof ICONS} IconName */

/** @param {IconName} name */
export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

/**
 * Returns what stands in the place of a picture: an icon and a word. `no_picture.css` has its look.
 * @param {string} [word]
 */
export const noPicture = (word = "no picture") =>
  el("span", { class: "no-picture" }, icon("photo"), el("span", { text: word }));

/**
 * Returns a picture. If it cannot be loaded, something else replaces it.
 * @param {string} src
 * @param {Props} props
 * @param {() => Node} [instead]
 */
export function picture(src, props, instead = () => noPicture()) {
  const image = el("img", { alt: "", decoding: "async", ...props });
  image.onerror = () => image.replaceWith(instead());
  image.src = src;
  return image;
}
