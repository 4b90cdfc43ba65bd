// @ts-check
// The lineage from left to right: boxes in layers, joined by curves. The relatives of the focus, or of the box
// under the pointer, are highlighted.

import { svg } from "../../components/dom.js";
import { Drawn } from "../../components/drawn.js";
import { entry, numbered } from "../../components/entry.js";
import { cut } from "../../components/words.js";
import { EDGE, HEIGHT, kin, left, sizeFor, TEXT, top } from "./lineage_layout.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { LineagePayload, PlacedNode } from "./graph_types.js" */
/** @import { Size } from "./lineage_layout.js" */

// 16 × 16 icons; kinds differ in shape and in colour.
/** @type {Record<string, string>} */
const KINDS = {
  encoder: "M2 8h3M11 8h3M5 3.5h6v9H5zM7.5 6h1M7.5 10h1",
  set: "M2.5 3h5v5h-5zM8.5 8.5h5v5h-5zM7.5 8l1 .5",
  run: "M4 2.8v10.4L13 8z",
};

/**
 * @param {PlacedNode} node
 * @param {Size} size
 * @param {(name: string) => void} open
 */
function boxOf(node, size, open) {
  const say = `${node.kind} ${node.title}, ${node.facts}`;
  const group = svg(
    "g",
    {
      class: `node ${node.kind}${node.lit ? " lit" : ""}${node.focus ? " focus" : ""}${node.solid ? "" : " broken"}`,
      transform: `translate(${left(node, size)} ${top(node)})`,
      role: "button",
      tabindex: "0",
      "data-name": node.name,
      "aria-current": node.focus ? "true" : null,
      onclick: () => open(node.name),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        open(node.name);
      },
    },
    svg("title", { text: say }), // also its name: the other texts may be cut
    svg("rect", { width: size.width, height: HEIGHT, rx: node.kind === "run" ? 23 : 6 }),
    svg("path", { class: "sign", d: KINDS[node.kind], transform: "translate(11 15)" }),
    svg("text", { class: "title", "aria-hidden": "true", x: TEXT, y: 20, text: cut(node.title, size.title) }),
    svg("text", { class: "facts", "aria-hidden": "true", x: TEXT, y: 35, text: cut(node.facts, size.facts) }),
  );
  return group;
}

/**
 * @param {[PlacedNode, PlacedNode]} ends
 * @param {Size} size
 */
function curveOf([from, to], size) {
  const [x1, y1] = [left(from, size) + size.width, top(from) + HEIGHT / 2];
  const [x2, y2] = [left(to, size), top(to) + HEIGHT / 2];
  const bend = Math.max(18, (x2 - x1) / 2);
  const d = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  const lit = from.lit && to.lit ? " lit" : "";
  return svg("path", { class: `edge${lit}`, d, "data-from": from.name, "data-to": to.name });
}

class Lineage extends Drawn {
  /** @param {HTMLElement} root */
  constructor(root) {
    super(root);
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    this.drawn = ""; // the data, as text
  }

  /** @param {LineagePayload} data */
  setData(data) {
    if (!data) return;
    this.setFigure(data.figure);
    const drawn = JSON.stringify(data);
    // A theme change runs this again with the same nodes; redrawing would drop the focus.
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    this.draw(data);
  }

  /** The whole drawing, not only its visible part. */
  shown() {
    return [...this.root.children];
  }

  /** @param {LineagePayload} data */
  draw({ nodes, edges }) {
    const { root } = this;
    const byName = new Map(nodes.map((node) => [node.name, node]));
    const deepest = Math.max(...nodes.map((node) => node.layer));
    const size = sizeFor(root.clientWidth, deepest + 1);
    const curves = edges.map(([a, b]) => curveOf([byName.get(a), byName.get(b)], size));
    const boxes = nodes.map((node) => boxOf(node, size, (name) => this.send("open", numbered({ name }))));
    const width = deepest * size.layer + size.width + 2 * EDGE;
    const height = Math.max(...nodes.map(top)) + HEIGHT + EDGE;
    const props = { width, height, class: "graph", role: "group", "aria-label": "Lineage" };
    const picture = svg("svg", props, ...curves, ...boxes);
    /** @param {string | null} name */
    const light = (name) => {
      picture.classList.toggle("pointed", name !== null);
      if (name === null) return;
      const near = kin(name, edges);
      for (const box of boxes) box.classList.toggle("near", near.has(box.dataset.name));
      for (const { classList, dataset } of curves)
        classList.toggle("near", near.has(dataset.from) && near.has(dataset.to));
    };
    for (const box of boxes) {
      box.onpointerenter = () => light(box.dataset.name);
      box.onpointerleave = () => light(null);
    }
    root.replaceChildren(picture);
    const focus = nodes.find((node) => node.focus);
    if (focus) {
      root.scrollLeft = left(focus, size) - root.clientWidth / 2 + size.width / 2;
      root.scrollTop = top(focus) - root.clientHeight / 2;
    }
  }
}

export default entry(".lineage", Lineage);
