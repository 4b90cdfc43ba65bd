// The view as a figure: one SVG with its pictures inside, and a caption that says what it shows. A PNG is drawn from it.

const COLUMN = 520; // of an encoder, in the figure's pixels
const GAP = 8;
const SMALL = 5; // neighbours in a row
const MARGIN = 20;
const FONT = "system-ui, sans-serif";

const textWidth = (() => {
  const context = document.createElement("canvas").getContext("2d");
  return (text, size) => {
    context.font = `${size}px ${FONT}`;
    return context.measureText(text).width;
  };
})();

function wrapped(text, size, width) {
  const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (line && textWidth(longer, size) > width) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

async function asDataUrl(url) {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) return null;
  const blob = await answer.blob();
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
}

// Draws a panel at a place; what cannot be fetched leaves its ground and a word.
async function drawPanel(view, panel, x, y, width) {
  const { look } = view;
  const height = (width * panel.photo.height) / panel.photo.width;
  const picture = async (url, extra) => {
    const href = await asDataUrl(url);
    const place = { x, y, width, height, preserveAspectRatio: "none" };
    return href ? svg("image", { ...place, href, ...extra }) : null;
  };
  const photo = look.layer !== "map" && (await picture(panel.photo.url, {}));
  const heat =
    look.layer !== "photo" &&
    (await picture(view.mapUrl(panel.encoder.id, panel.photo.id), {
      opacity: look.layer === "map" ? 1 : look.opacity,
      style: look.cells ? "image-rendering: pixelated" : null,
    }));
  const marks = svg(
    "svg",
    { x, y, width, height, viewBox: `0 0 ${panel.photo.width} ${panel.photo.height}` },
    ...targetMarks(look.to, panel.photo),
  );
  const ground = svg("rect", { x, y, width, height, fill: "#ddd" });
  const missing = !photo && !heat && textAt("not available", x + 8, y + 20, 12, { fill: "#555" });
  return { height, nodes: [ground, photo, heat, marks, missing].filter(Boolean) };
}

const textAt = (text, x, y, size, more = {}) =>
  svg("text", { x, y, "font-size": size, "font-family": FONT, fill: "#111", text, ...more });

async function drawColumn(view, column, x) {
  const nodes = [textAt(column.encoder.name, x, MARGIN + 14, 16, { "font-weight": 600 })];
  if (column.encoder.note) nodes.push(textAt(column.encoder.note, x, MARGIN + 33, 13, { fill: "#555" }));
  let y = MARGIN + 44;
  const [query, ...neighbors] = column.panels;
  const drawn = await drawPanel(view, query, x, y, COLUMN);
  nodes.push(...drawn.nodes);
  y += drawn.height + GAP;
  const width = (COLUMN - GAP * (SMALL - 1)) / SMALL;
  for (let start = 0; start < neighbors.length; start += SMALL) {
    let tallest = 0;
    for (const [at, panel] of neighbors.slice(start, start + SMALL).entries()) {
      const left = x + at * (width + GAP);
      const small = await drawPanel(view, panel, left, y, width);
      const said = `${start + at + 1} · cos ${panel.photo.similarity.toFixed(2)}`;
      nodes.push(...small.nodes, textAt(said, left, y + small.height + 13, 11, { fill: "#555" }));
      tallest = Math.max(tallest, small.height + 18);
    }
    y += tallest + GAP;
  }
  return { nodes, bottom: y };
}

function drawScale(view, x, y) {
  const { low, high } = view.scale();
  const stops = view.data.colors.map((color, i, all) =>
    svg("stop", { offset: i / (all.length - 1), "stop-color": color }),
  );
  const from = textWidth(low, 12) + 8;
  return [
    svg("defs", {}, svg("linearGradient", { id: "scale" }, ...stops)),
    textAt(low, x, y + 11, 12),
    svg("rect", { x: x + from, y, width: 180, height: 13, fill: "url(#scale)", stroke: "#888" }),
    textAt(high, x + from + 188, y + 11, 12),
  ];
}

async function figure(view) {
  const columns = [];
  for (const [at, column] of view.columns.entries()) {
    columns.push(await drawColumn(view, column, MARGIN + at * (COLUMN + 2 * GAP)));
  }
  const inner = Math.max(2, columns.length) * (COLUMN + 2 * GAP) - 2 * GAP;
  let y = Math.max(...columns.map((column) => column.bottom)) + GAP;
  const scale = drawScale(view, MARGIN, y);
  const lines = view.caption().flatMap((sentence) => wrapped(sentence, 13, inner));
  y += 36;
  const caption = lines.map((line, at) => textAt(line, MARGIN, y + at * 19, 13));
  const [width, height] = [inner + 2 * MARGIN, y + lines.length * 19];
  return svg(
    "svg",
    { xmlns: SVG_NS, width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", { text: view.caption().join(" ") }),
    svg("rect", { width, height, fill: "#fff" }),
    ...columns.flatMap((column) => column.nodes),
    ...scale,
    ...caption,
  );
}

function download(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function saveFigure(view, kind) {
  const drawn = await figure(view);
  const blob = new Blob([new XMLSerializer().serializeToString(drawn)], { type: "image/svg+xml" });
  const name = `attention-${view.data.query.name.replace(/\.[^.]*$/, "")}.${kind}`;
  if (kind === "svg") return download(blob, name);
  const picture = new Image();
  const url = URL.createObjectURL(blob);
  picture.src = url;
  await picture.decode();
  const canvas = document.createElement("canvas");
  const [width, height] = [drawn.getAttribute("width"), drawn.getAttribute("height")].map(Number);
  const sharp = clamp(16_000 / Math.max(width, height), 0.1, 2); // browsers limit a canvas
  Object.assign(canvas, { width: width * sharp, height: height * sharp });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  return download(await new Promise((resolve) => canvas.toBlob(resolve, "image/png")), name);
}
