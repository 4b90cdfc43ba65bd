// @ts-check
// The view's columns as a figure: for each encoder the query's map, then those of the neighbours; and the scale.

import { svg } from "../../components/dom.js";
import { figureText } from "../../components/figure.js";
import { scaleOf } from "./caption.js";
import { targetMarks } from "./panel.js";

/** @import { Drawing } from "../../components/figure.js" */
/** @import { Props } from "../../components/dom.js" */
/** @import { Panel } from "./panel.js" */
/** @import { AttentionView, Column } from "./view.js" */

const COLUMN = 520; // of an encoder, in the figure's pixels
const GAP = 8;
const SMALL = 5; // neighbours in a row

const quiet = { opacity: 0.64 };

/**
 * Draws a panel. If its picture cannot be loaded, a grey box says so.
 * @param {AttentionView} view
 * @param {Panel} panel
 * @param {number} x
 * @param {number} y
 * @param {number} width
 */
function panelDrawn(view, panel, x, y, width) {
  const { look } = view;
  const height = (width * panel.photo.height) / panel.photo.width;
  const place = { x, y, width, height };
  /** @type {(href: string, more: Props) => SVGElement} */
  const picture = (href, more) => svg("image", { ...place, preserveAspectRatio: "none", href, ...more });
  const marks = svg(
    "svg",
    { ...place, viewBox: `0 0 ${panel.photo.width} ${panel.photo.height}` },
    ...targetMarks(look.to, panel.photo),
  );
  const nodes = [
    svg("rect", { ...place, fill: "#ddd" }),
    figureText(view.root, x + 8, y + 20, "not available", { fill: "#555" }),
    look.layer !== "map" && picture(panel.photo.url, {}),
    look.layer !== "photo" &&
      picture(view.mapUrl(panel.encoder.id, panel.photo.id), {
        opacity: look.layer === "map" ? 1 : look.opacity,
        style: look.cells ? "image-rendering: pixelated" : null,
      }),
    marks,
  ];
  return { height, nodes: nodes.filter((node) => node instanceof SVGElement) };
}

/**
 * @param {AttentionView} view
 * @param {Column} column
 * @param {number} x
 */
function columnDrawn(view, column, x) {
  const { root } = view;
  /** @type {SVGElement[]} */
  const nodes = [figureText(root, x, 14, column.encoder.name, { "font-size": 16, "font-weight": 600 })];
  if (column.encoder.note) nodes.push(figureText(root, x, 33, column.encoder.note, { "font-size": 13, ...quiet }));
  let y = 44;
  const [query, ...neighbors] = column.panels;
  const drawn = panelDrawn(view, query, x, y, COLUMN);
  nodes.push(...drawn.nodes);
  y += drawn.height + GAP;
  const width = (COLUMN - GAP * (SMALL - 1)) / SMALL;
  for (let start = 0; start < neighbors.length; start += SMALL) {
    let tallest = 0;
    for (const [at, panel] of neighbors.slice(start, start + SMALL).entries()) {
      const left = x + at * (width + GAP);
      const small = panelDrawn(view, panel, left, y, width);
      const said = `${start + at + 1} · cos ${panel.photo.similarity.toFixed(2)}`;
      nodes.push(...small.nodes, figureText(root, left, y + small.height + 13, said, quiet));
      tallest = Math.max(tallest, small.height + 18);
    }
    y += tallest + GAP;
  }
  return { nodes, bottom: y };
}

/**
 * @param {AttentionView} view
 * @param {number} y
 */
function scaleDrawn(view, y) {
  const { low, high } = scaleOf(view.look);
  const { colors } = view.data;
  const stops = colors.map((color, i) => svg("stop", { offset: i / (colors.length - 1), "stop-color": color }));
  const from = 40; // room for the label before it
  return [
    svg("defs", {}, svg("linearGradient", { id: "scale" }, ...stops)),
    figureText(view.root, from - 8, y + 11, low, { "text-anchor": "end" }),
    svg("rect", { x: from, y, width: 180, height: 13, fill: "url(#scale)", stroke: "#888" }),
    figureText(view.root, from + 188, y + 11, high),
  ];
}

/**
 * @param {AttentionView} view
 * @returns {Drawing}
 */
export function columnsDrawn(view) {
  const columns = view.columns.map((column, at) => columnDrawn(view, column, at * (COLUMN + 2 * GAP)));
  const bottom = Math.max(...columns.map((column) => column.bottom)) + GAP;
  return {
    nodes: [...columns.flatMap((column) => column.nodes), ...scaleDrawn(view, bottom)],
    width: Math.max(1, columns.length) * (COLUMN + 2 * GAP) - 2 * GAP,
    height: bottom + 14,
  };
}
