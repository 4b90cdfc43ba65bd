// @ts-check
// Converts visible HTML to SVG for a figure: backgrounds, borders, pictures, drawings, and text.

import { fill, svg } from "./dom.js";
import { asWide, plainColour, styledCopy } from "./figure.js";

/**
 * @typedef {{ left: number, top: number, right: number, bottom: number }} Edges
 * @typedef {Edges & { text: string, start: number }} Line
 */

const CLIPPED = new Set(["hidden", "clip", "auto", "scroll"]);

/** @type {CanvasRenderingContext2D} */
let pen;

/** @param {CSSStyleDeclaration} style */
function metricsOf(style) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  return pen.measureText("x");
}

class Shown {
  /** @param {Element[]} elements */
  constructor(elements) {
    const boxes = elements.map((element) => element.getBoundingClientRect());
    this.left = Math.min(...boxes.map((box) => box.left));
    this.top = Math.min(...boxes.map((box) => box.top));
    this.width = Math.max(...boxes.map((box) => box.right)) - this.left;
    this.height = Math.max(...boxes.map((box) => box.bottom)) - this.top;
    /** @type {SVGElement[]} */
    this.nodes = [];
    for (const element of elements)
      this.element(element, { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity });
  }

  /** @param {{ left: number, top: number, width: number, height: number }} box */
  at({ left, top, width, height }) {
    return { x: left - this.left, y: top - this.top, width, height };
  }

  /**
   * @param {Element} element
   * @param {Edges} clip
   * @returns {void}
   */
  element(element, clip) {
    if (element.matches(".screen")) return; // instructions for the screen
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    const seen =
      style.visibility !== "hidden" && style.opacity !== "0" && style.display !== "none" && box.width && box.height;
    if (!seen || box.bottom <= clip.top || box.top >= clip.bottom || box.right <= clip.left || box.left >= clip.right)
      return;
    this.ground(box, style);
    if (element instanceof SVGElement) return this.vector(element, box);
    if (element instanceof HTMLImageElement) return this.image(element.src, box, style.objectFit);
    if (element instanceof HTMLCanvasElement) return this.image(element.toDataURL(), box, "fill");
    const inner = CLIPPED.has(style.overflowX)
      ? {
          left: Math.max(clip.left, box.left),
          top: Math.max(clip.top, box.top),
          right: Math.min(clip.right, box.right),
          bottom: Math.min(clip.bottom, box.bottom),
        }
      : clip;
    for (const child of element.childNodes) {
      if (child instanceof Text) this.words(child, style, inner);
      else if (child instanceof Element) this.element(child, inner);
    }
  }

  /**
   * @param {DOMRect} box
   * @param {CSSStyleDeclaration} style
   * @returns {void}
   */
  ground(box, style) {
    const border = Number.parseFloat(style.borderTopWidth);
    const drawn = {
      fill: plainColour(style.backgroundColor),
      stroke: border ? plainColour(style.borderTopColor) : "none",
      "stroke-width": border,
      rx: Number.parseFloat(style.borderTopLeftRadius) || 0,
    };
    const clear = /^rgba\(.*, 0(\.0*)?\)$/;
    if (style.backgroundImage.startsWith("linear-gradient")) return this.gradient(box, style.backgroundImage);
    if (clear.test(drawn.fill) && (!border || clear.test(drawn.stroke))) return;
    this.nodes.push(svg("rect", { ...this.at(box), ...drawn }));
  }

  /**
   * Draws a colour scale: from left to right, with evenly spaced stops.
   * @param {DOMRect} box
   * @param {string} image
   */
  gradient(box, image) {
    const colours = image.match(/#\w+|\w+\([^()]*\)/g);
    const id = `scale-${this.nodes.length}`;
    const stops = colours.map((colour, at) =>
      svg("stop", { offset: at / (colours.length - 1), "stop-color": plainColour(colour) }),
    );
    this.nodes.push(svg("defs", {}, svg("linearGradient", { id }, ...stops)));
    this.nodes.push(svg("rect", { ...this.at(box), fill: `url(#${id})` }));
  }

  /**
   * @param {string} href
   * @param {DOMRect} box
   * @param {string} fit
   */
  image(href, box, fit) {
    const aspect = { cover: "xMidYMid slice", contain: "xMidYMid meet" }[fit] ?? "none";
    if (href) this.nodes.push(svg("image", { ...this.at(box), href, preserveAspectRatio: aspect }));
  }

  /**
   * @param {SVGElement} element
   * @param {DOMRect} box
   */
  vector(element, box) {
    const style = getComputedStyle(element);
    const copy = styledCopy(element);
    fill(copy, this.at(box));
    for (const name of ["fill", "stroke", "stroke-width"]) {
      if (!copy.hasAttribute(name)) copy.setAttribute(name, plainColour(style.getPropertyValue(name)));
    }
    this.nodes.push(copy);
  }

  /**
   * Draws text with the browser's line breaks and clipping.
   * @param {Text} node
   * @param {CSSStyleDeclaration} style
   * @param {Edges} clip
   */
  words(node, style, clip) {
    if (!node.data.trim()) return;
    const { fontBoundingBoxAscent: up, fontBoundingBoxDescent: down } = metricsOf(style);
    for (const line of linesOf(node)) {
      if (line.bottom <= clip.top || line.top >= clip.bottom || line.left >= clip.right) continue;
      const cut = line.right > clip.right + 1;
      const text = cut ? cutAt(node, line, clip.right, style) : line.text;
      const y = line.top + ((line.bottom - line.top) * up) / (up + down) - this.top;
      this.nodes.push(
        svg("text", {
          x: line.left - this.left,
          y,
          fill: plainColour(style.color),
          "font-size": style.fontSize,
          "font-weight": style.fontWeight,
          "font-family": style.fontFamily,
          "text-decoration": style.textDecorationLine === "none" ? null : style.textDecorationLine,
          ...asWide((cut ? clip.right : line.right) - line.left),
          text,
        }),
      );
    }
  }
}

/**
 * Returns the lines of a text node with their edges.
 * @param {Text} node
 */
function linesOf(node) {
  const range = document.createRange();
  /** @type {Line[]} */
  const lines = [];
  for (const { index, 0: word } of node.data.matchAll(/\S+/g)) {
    range.setStart(node, index);
    range.setEnd(node, index + word.length);
    const { left, top, right, bottom } = range.getBoundingClientRect();
    if (right === left) continue;
    const last = lines.at(-1);
    if (last && Math.abs(last.top - top) < 2) Object.assign(last, { text: `${last.text} ${word}`, right });
    else lines.push({ text: word, start: index, left, top, right, bottom });
  }
  return lines;
}

/**
 * Returns the part of a line before an edge, with an ellipsis.
 * @param {Text} node
 * @param {Line} line
 * @param {number} edge
 * @param {CSSStyleDeclaration} style
 */
function cutAt(node, line, edge, style) {
  const range = document.createRange();
  const most = edge - (style.textOverflow === "ellipsis" ? Number.parseFloat(style.fontSize) : 0);
  let end = line.start;
  range.setStart(node, line.start);
  for (; end < node.length; end++) {
    range.setEnd(node, end + 1);
    if (range.getBoundingClientRect().right > most) break;
  }
  return `${node.data.slice(line.start, end)}…`;
}

/**
 * Returns a drawing of the visible parts of some elements.
 * @param {...Element} elements
 */
export function asShown(...elements) {
  const { nodes, width, height } = new Shown(elements);
  return { nodes, width, height };
}
