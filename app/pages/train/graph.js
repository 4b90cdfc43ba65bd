// Lineage from left to right: boxes in layers, joined by curves. What belongs to the focus, or to the box
// under the pointer, is lit.

const HEIGHT = 46;
const ROW = 60;
const EDGE = 12; // room around the drawing
const GAP = 34; // between layers, at least
const NARROWEST = 156; // box
const WIDEST = 250;
const TEXT = 35; // where words begin in a box
const LETTER = { title: 7, facts: 5.7 }; // mean width

// What boxes are like when so many layers share the room; the drawing scrolls when that is too little.
function sizeFor(room, layers) {
  const width = clamp((room - 2 * EDGE - (layers - 1) * GAP) / layers, NARROWEST, WIDEST);
  const letters = (kind) => Math.floor((width - TEXT - 8) / LETTER[kind]);
  return { width, layer: width + GAP, title: letters("title"), facts: letters("facts") };
}

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
    svg("text", { class: "title", x: TEXT, y: 20, text: cut(node.title, size.title) }),
    svg("text", { class: "facts", x: TEXT, y: 35, text: cut(node.facts, size.facts) }),
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
  const size = sizeFor(root.clientWidth, deepest + 1);
  const curves = edges.map(([a, b]) => curveOf([byName.get(a), byName.get(b)], size));
  const boxes = nodes.map((node) => boxOf(node, size, open));
  const width = deepest * size.layer + size.width + 2 * EDGE;
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
  showMenu(parentElement.querySelector(".head"), root, data.figure, () => [...root.children]);
  const fingerprint = JSON.stringify(data);
  // A theme change runs this again with the same nodes; drawing anew would drop the focus.
  if (root.fingerprint === fingerprint) return;
  root.fingerprint = fingerprint;
  draw(root, data, (name) => root.open(name));
}
