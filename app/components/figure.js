// @ts-check
// A view as a figure: one SVG with its pictures inside, above a caption.

import { el, fill, svg, SVG_NS } from "./dom.js";
import { answerTo } from "./urls.js";
import { wrapped } from "./words.js";

/** @import { Props } from "./dom.js" */

/**
 * A drawing, in CSS pixels from the upper left corner.
 * @typedef {{ nodes: SVGElement[], width: number, height: number }} Drawing
 */

/**
 * A view that can be saved.
 * @typedef {object} Saveable
 * @property {HTMLElement} root
 * @property {() => string} fileName without its kind
 * @property {() => string[]} captionLines
 * @property {() => string} link
 * @property {() => Drawing} picture
 */

const FIGURE_STYLES = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-linecap",
  "stroke-linejoin",
  "opacity",
  "font-size",
  "font-weight",
  "font-family",
  "text-anchor",
  "dominant-baseline",
  "vector-effect",
];
const FIGURE_SCALE = 2; // pixels of the PNG for each CSS pixel
const FIGURE_MOST = 16_000; // largest side of a canvas that all browsers support, in pixels
const FIGURE_TEXT = 11; // CSS pixels
const FIGURE_MARGIN = 12;

/** @param {Element} root */
const inkOf = (root) => getComputedStyle(root).color;

/**
 * Returns text in the text colour of a view.
 * @param {Element} root
 * @param {number} x
 * @param {number} y
 * @param {string} text
 * @param {Props} [more]
 */
export function figureText(root, x, y, text, more = {}) {
  return svg("text", { x, y, fill: inkOf(root), "font-size": FIGURE_TEXT, "font-family": "sans-serif", text, ...more });
}

/** @type {Map<string, string>} */
const plain = new Map(); // of mixed colours
/** @type {CanvasRenderingContext2D} */
let pixel;

/** @param {string} colour */
function mixed(colour) {
  pixel ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  pixel.clearRect(0, 0, 1, 1);
  pixel.fillStyle = colour;
  pixel.fillRect(0, 0, 1, 1);
  const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
  return `rgba(${red}, ${green}, ${blue}, ${(alpha / 255).toFixed(3)})`;
}

/**
 * Converts a colour for programs other than browsers: mixed colours are read from a pixel.
 * @param {string} colour
 */
export function plainColour(colour) {
  if (!/^(color|oklab|oklch|lab|lch)\(/.test(colour)) return colour;
  if (!plain.has(colour)) plain.set(colour, mixed(colour));
  return plain.get(colour);
}

/**
 * Fixes the width of a text: another font, if this one is missing, gets the same width.
 * @param {number} width
 */
export const asWide = (width) => ({ textLength: width.toFixed(1), lengthAdjust: "spacingAndGlyphs" });

/**
 * @param {Element[]} from
 * @param {Element[]} to
 */
function keepWidths(from, to) {
  from.forEach((node, index) => {
    const width = node instanceof SVGTextElement ? node.getComputedTextLength() : 0;
    if (width) fill(to[index], asWide(width));
  });
}

/**
 * Returns a copy that needs no style sheet: without hidden nodes, with the styles as attributes.
 * @template {SVGElement} T
 * @param {T} original
 */
export function styledCopy(original) {
  const copy = /** @type {T} */ (original.cloneNode(true));
  const [from, to] = [original, copy].map((root) => [...root.querySelectorAll("*")]);
  /** @type {Element[]} */
  const hidden = [];
  from.forEach((node, index) => {
    const style = getComputedStyle(node);
    if (style.display === "none") hidden.push(to[index]);
    to[index].removeAttribute("class");
    to[index].removeAttribute("style");
    for (const name of FIGURE_STYLES) {
      const value = style.getPropertyValue(name);
      if (value && value !== "none" && value !== "auto" && value !== "normal")
        to[index].setAttribute(name, plainColour(value));
      else if (name === "fill" || name === "stroke") to[index].setAttribute(name, "none");
    }
  });
  keepWidths(from, to);
  for (const node of hidden) node.remove();
  copy.removeAttribute("class");
  copy.removeAttribute("style");
  return copy;
}

/**
 * @param {Blob} blob
 * @returns {Promise<string>}
 */
function asDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/**
 * Embeds all pictures into the figure. A picture that cannot be loaded is removed.
 * @param {SVGElement} figure
 */
async function inlineImages(figure) {
  const fetched = [...figure.querySelectorAll("image")].map(async (image) => {
    const url = image.getAttribute("href");
    if (url?.startsWith("data:")) return;
    const answer = url ? await answerTo(url) : null;
    if (answer?.ok) image.setAttribute("href", await asDataUrl(await answer.blob()));
    else image.remove();
  });
  await Promise.all(fetched);
}

/** @param {Saveable} view */
export async function figureOf(view) {
  const paper = getComputedStyle(view.root).getPropertyValue("--st-background-color").trim() || "#ffffff";
  const { nodes, width, height } = view.picture();
  const said = view.captionLines();
  const lines = [...said, view.link()].flatMap((line) => wrapped(line, Math.floor(width / (FIGURE_TEXT * 0.54))));
  const caption = lines.map((line, index) => figureText(view.root, 0, height + 22 + index * 15, line));
  const full = [width + 2 * FIGURE_MARGIN, height + 22 + lines.length * 15 + 2 * FIGURE_MARGIN].map(Math.ceil);
  const viewBox = `${-FIGURE_MARGIN} ${-FIGURE_MARGIN} ${full[0]} ${full[1]}`;
  const figure = svg("svg", { xmlns: SVG_NS, width: full[0], height: full[1], viewBox });
  figure.append(
    svg("title", { text: said.join(" ") }),
    svg("rect", { x: -FIGURE_MARGIN, y: -FIGURE_MARGIN, width: full[0], height: full[1], fill: paper }),
    ...nodes,
    ...caption,
  );
  await inlineImages(figure);
  return { width: full[0], height: full[1], text: new XMLSerializer().serializeToString(figure) };
}

/**
 * @param {{ width: number, height: number, text: string }} figure
 * @returns {Promise<Blob>}
 */
export async function asPng({ width, height, text }) {
  const picture = new Image();
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    picture.src = url;
    await picture.decode();
    const scale = Math.min(FIGURE_SCALE, FIGURE_MOST / Math.max(width, height));
    const canvas = el("canvas", { width: Math.floor(width * scale), height: Math.floor(height * scale) });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}
