// Lineage from left to right: boxes in layers, joined by curves. What belongs to the focus, or to the box
// under the pointer, is lit.

const HEIGHT = 46;
const ROW = 60;
const EDGE = 12; // room around the drawing
// Sizes of boxes, the widest that fits is taken; letters of a title and of the line below it.
const SIZES = [
  { width: 200, layer: 250, title: 23, facts: 28 },
  { width: 156, layer: 186, title: 16, facts: 20 },
];

// 16 × 16 strokes; a shape for each kind, besides its colour.
const KINDS = {
  encoder: "M2 8h3M11 8h3M5 3.5h6v9H5zM7.5 6h1M7.5 10h1",
  set: "M2.5 3h5v5h-5zM8.5 8.5h5v5h-5zM7.5 8l1 .5",
  run: "M4 2.8v10.4L13 8z",
};

let opened = 0; // makes equal events distinguishable

function reach(start, edges, from, to) {
  const found = new Set([start]);
  const waiting = [start];
  while (waiting.length) {
    const at = waiting.pop();
    for (const edge of edges)
      if (edge[from] === at && !found.has(edge[to])) {
        found.add(edge[to]);
        waiting.push(edge[to]);
      }
  }
  return found;
}

const left = (node, size) => EDGE + node.layer * size.layer;
const top = (node) => EDGE + node.row * ROW;
const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

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
      "aria-label": say,
      "aria-current": node.focus ? "true" : null,
      onclick: () => open(node.name),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        open(node.name);
      },
    },
    svg("title", { text: say }),
    svg("rect", { width: size.width, height: HEIGHT, rx: node.kind === "run" ? 23 : 6 }),
    svg("path", { class: "sign", d: KINDS[node.kind], transform: "translate(11 15)" }),
    svg("text", { class: "title", x: 35, y: 20, text: cut(node.title, size.title) }),
    svg("text", { class: "facts", x: 35, y: 35, text: cut(node.facts, size.facts) }),
  );
  return group;
}

function curveOf([from, to], size) {
  const [x1, y1] = [left(from, size) + size.width, top(from) + HEIGHT / 2];
  const [x2, y2] = [left(to, size), top(to) + HEIGHT / 2];
  const bend = Math.max(18, (x2 - x1) / 2);
  const d = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  const lit = from.lit && to.lit ? " lit" : "";
  return svg("path", { class: `edge${lit}`, d, "data-from": from.name, "data-to": to.name });
}

function draw(root, { nodes, edges }, open) {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const deepest = Math.max(...nodes.map((node) => node.layer));
  const widthIn = (size) => deepest * size.layer + size.width + 2 * EDGE;
  const size = SIZES.find((each) => widthIn(each) <= root.clientWidth) ?? SIZES.at(-1);
  const curves = edges.map(([a, b]) => curveOf([byName.get(a), byName.get(b)], size));
  const boxes = nodes.map((node) => boxOf(node, size, open));
  const width = widthIn(size);
  const height = Math.max(...nodes.map(top)) + HEIGHT + EDGE;
  const picture = svg("svg", { width, height, class: "graph", role: "group", "aria-label": "Lineage" });
  picture.append(...curves, ...boxes);
  const light = (name) => {
    picture.classList.toggle("pointed", name !== null);
    if (name === null) return;
    const near = new Set([...reach(name, edges, 0, 1), ...reach(name, edges, 1, 0)]);
    for (const box of boxes) box.classList.toggle("near", near.has(box.dataset.name));
    for (const { classList, dataset } of curves) classList.toggle("near", near.has(dataset.from) && near.has(dataset.to));
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

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".lineage");
  if (!root || !data) return;
  root.open = (name) => setTriggerValue("open", { name, n: (opened += 1) });
  const fingerprint = JSON.stringify(data);
  // A theme change runs this again with the same nodes; drawing anew would drop the focus.
  if (root.fingerprint === fingerprint) return;
  root.fingerprint = fingerprint;
  draw(root, data, (name) => root.open(name));
}
