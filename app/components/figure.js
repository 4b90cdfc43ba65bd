// A view as a figure: what it draws as one SVG with its pictures inside, above a caption that says how it came about.
// A view that can be saved has root, fileName(), captionLines(), link(), and picture(), which gives what it draws as
// {nodes, width, height}, or a promise of that, in CSS pixels from the upper left corner.

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
const FIGURE_MOST = 16_000; // pixels of a canvas's side that every browser bears
const FIGURE_TEXT = 11; // CSS pixels
const FIGURE_MARGIN = 12;

const inkOf = (root) => getComputedStyle(root).color;

// Words in the ink of a view.
function figureText(root, x, y, text, more = {}) {
  return svg("text", { x, y, fill: inkOf(root), "font-size": FIGURE_TEXT, "font-family": "sans-serif", text, ...more });
}

// Colours as programs other than browsers know them: mixed ones are taken from a pixel.
const plainColour = (() => {
  const known = new Map();
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const mixed = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
    return `rgba(${red}, ${green}, ${blue}, ${(alpha / 255).toFixed(3)})`;
  };
  return (colour) => {
    if (!/^(color|oklab|oklch|lab|lch)\(/.test(colour)) return colour;
    if (!known.has(colour)) known.set(colour, mixed(colour));
    return known.get(colour);
  };
})();

// Whoever opens the figure may lack the font: its words take the same room in another.
const asWide = (width) => ({ textLength: width.toFixed(1), lengthAdjust: "spacingAndGlyphs" });

function keepWidths(from, to) {
  from.forEach((node, index) => {
    const width = node instanceof SVGTextElement ? node.getComputedTextLength() : 0;
    if (width) fill(to[index], asWide(width), []);
  });
}

// A copy that looks the same without the style sheet: what is hidden is gone, what is drawn carries its style.
function styledCopy(original) {
  const copy = original.cloneNode(true);
  const [from, to] = [original, copy].map((root) => [...root.querySelectorAll("*")]);
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

function asDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

// Put every photo and map that is shown into the figure itself; one that cannot be had is left out.
async function inlineImages(figure) {
  const fetched = [...figure.querySelectorAll("image")].map(async (image) => {
    const url = image.getAttribute("href");
    if (url?.startsWith("data:")) return;
    const answer = url ? await fetch(url).catch(() => null) : null;
    if (answer?.ok) image.setAttribute("href", await asDataUrl(await answer.blob()));
    else image.remove();
  });
  await Promise.all(fetched);
}

// Lines no longer than the figure is wide, broken at spaces.
function wrapped(text, width) {
  const most = Math.floor(width / (FIGURE_TEXT * 0.54));
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.length - 1;
    if (lines[last] && lines[last].length + 1 + word.length > most) lines.push(word);
    else lines[last] += (lines[last] && " ") + word;
  }
  return lines;
}

async function figureOf(view) {
  const paper = getComputedStyle(view.root).getPropertyValue("--st-background-color").trim() || "#ffffff";
  const { nodes, width, height } = await view.picture();
  const said = view.captionLines();
  const lines = [...said, view.link()].flatMap((line) => wrapped(line, width));
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

async function asPng({ width, height, text }) {
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
