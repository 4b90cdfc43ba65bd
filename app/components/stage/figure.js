// @ts-check
// Stages as part of a figure, one below the other.

import { figureText, styledCopy } from "../figure.js";

/** @import { Drawing } from "../figure.js" */
/** @import { Stage } from "./stage.js" */

const HEADING = 34; // CSS pixels above a stage that has one

/**
 * @param {HTMLElement} root
 * @param {[Stage, string][]} stages with a heading or "", from top to bottom
 * @returns {Drawing}
 */
export function stagesDrawn(root, stages) {
  /** @type {SVGElement[]} */
  const nodes = [];
  let [width, height] = [0, 0];
  for (const [stage, heading] of stages) {
    if (heading) {
      height += HEADING;
      nodes.push(figureText(root, 0, height - 10, heading, { "font-size": 14, "font-weight": 600 }));
    }
    const drawing = styledCopy(stage.svg);
    drawing.setAttribute("y", String(height));
    nodes.push(drawing);
    for (const side of stage.sides()) {
      const { x, y } = side.frame;
      nodes.push(figureText(root, x, height + y - 24, side.title(), { "font-size": 13, "font-weight": 600 }));
      nodes.push(figureText(root, x, height + y - 8, side.photo?.name ?? ""));
    }
    width = Math.max(width, stage.svg.width.baseVal.value);
    height += stage.svg.height.baseVal.value;
  }
  return { nodes, width, height };
}
