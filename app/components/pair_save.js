// The view as a figure: its stages' own SVG with the photos inside it and a caption that says how it came about.
// A view that can be saved has root, fileName(), stages(): [[stage, heading or ""], …] from top to bottom, captionLines(),
// and link().

const FIGURE_STYLES = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-linecap",
  "opacity",
  "font-size",
  "font-weight",
  "font-family",
  "text-anchor",
  "dominant-baseline",
  "vector-effect",
];
const FIGURE_SCALE = 2; // pixels of the PNG for each CSS pixel
const FIGURE_TEXT = 11; // CSS pixels
const FIGURE_MARGIN = 12;
const FIGURE_HEADING = 34; // above a stage that has one

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
    const answer = url ? await fetch(url) : null;
    if (answer?.ok) image.setAttribute("href", await asDataUrl(await answer.blob()));
    else image.remove();
  });
  await Promise.all(fetched);
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
      if (value && value !== "none" && value !== "auto" && value !== "normal") to[index].setAttribute(name, value);
      else if (name === "fill" || name === "stroke") to[index].setAttribute(name, "none");
    }
  });
  for (const node of hidden) node.remove();
  copy.removeAttribute("class");
  return copy;
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
  const style = getComputedStyle(view.root);
  const [ink, paper] = [style.color, style.getPropertyValue("--st-background-color").trim() || "#ffffff"];
  const text = (x, y, content, more = {}) =>
    svg("text", { x, y, fill: ink, "font-size": FIGURE_TEXT, "font-family": "sans-serif", text: content, ...more });
  const drawn = [];
  let [width, height] = [0, 0];
  for (const [stage, heading] of view.stages()) {
    if (heading) {
      height += FIGURE_HEADING;
      drawn.push(text(0, height - 10, heading, { "font-size": 14, "font-weight": 600 }));
    }
    const drawing = styledCopy(stage.svg);
    drawing.setAttribute("y", height);
    await inlineImages(drawing);
    drawn.push(drawing);
    for (const side of stage.sides()) {
      const { x, y } = side.frame;
      drawn.push(text(x, height + y - 24, side.title(), { "font-size": 13, "font-weight": 600 }));
      drawn.push(text(x, height + y - 8, side.photo?.name ?? ""));
    }
    width = Math.max(width, stage.svg.width.baseVal.value);
    height += stage.svg.height.baseVal.value;
  }
  const said = view.captionLines();
  const lines = [...said, view.link()].flatMap((line) => wrapped(line, width));
  const caption = lines.map((line, index) => text(0, height + 22 + index * 15, line));
  const full = [width + 2 * FIGURE_MARGIN, height + 22 + lines.length * 15 + 2 * FIGURE_MARGIN];
  const viewBox = `${-FIGURE_MARGIN} ${-FIGURE_MARGIN} ${full[0]} ${full[1]}`;
  const figure = svg("svg", { xmlns: SVG_NS, width: full[0], height: full[1], viewBox });
  figure.append(
    svg("title", { text: said.join(" ") }),
    svg("rect", { x: -FIGURE_MARGIN, y: -FIGURE_MARGIN, width: full[0], height: full[1], fill: paper }),
    ...drawn,
    ...caption,
  );
  return { width: full[0], height: full[1], text: new XMLSerializer().serializeToString(figure) };
}

async function asPng({ width, height, text }) {
  const picture = new Image();
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    picture.src = url;
    await picture.decode();
    const canvas = el("canvas", { width: width * FIGURE_SCALE, height: height * FIGURE_SCALE });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

// "a/000012.jpg" -> "000012"
function fileStem({ name }) {
  return name.split("/").at(-1).replace(/\.\w+$/, "");
}

// The address with what it leaves out as long as that goes without saying, for tomorrow it may not.
function lastingLink(parameters) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

class SaveMenu {
  constructor(view) {
    this.view = view;
    const item = (name, text, act) =>
      el("button", { type: "button", role: "menuitem", "data-save": name, text, onclick: () => this.run(act) });
    this.button = el("button", {
      type: "button",
      class: "tool",
      title: "Save or share this view",
      "aria-label": "Save or share this view",
      "aria-haspopup": "menu",
      onclick: () => this.toggle(),
    });
    this.button.append(icon("save"));
    this.menu = el(
      "div",
      { class: "menu", role: "menu", hidden: true },
      item("png", "Save as PNG", async () => download(await asPng(await figureOf(view)), `${view.fileName()}.png`)),
      item("svg", "Save as SVG", async () => {
        const { text } = await figureOf(view);
        download(new Blob([text], { type: "image/svg+xml" }), `${view.fileName()}.svg`);
      }),
      item("link", "Copy link", () => this.copyLink()),
    );
    this.menu.onkeydown = (event) => this.keyDown(event);
    this.said = el("span", { class: "said", role: "status" });
    this.root = el("div", { class: "save" }, this.button, this.menu, this.said);
  }

  toggle(open = this.menu.hidden) {
    this.menu.hidden = !open;
    this.button.setAttribute("aria-expanded", open);
    if (open) this.menu.firstChild.focus();
    else this.button.focus();
  }

  async run(act) {
    this.toggle(false);
    try {
      await act();
    } catch (error) {
      this.say(`Not saved: ${error.message}`);
    }
  }

  async copyLink() {
    try {
      await navigator.clipboard.writeText(this.view.link());
      this.say("Link copied");
    } catch {
      // Without HTTPS there is no clipboard on a foreign host, and a person can refuse it.
      history.replaceState(history.state, "", this.view.link());
      this.say("Copy the address bar: the browser lets no page do it here");
    }
  }

  say(text) {
    this.said.textContent = text;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.said.textContent = ""), 4000);
  }

  keyDown(event) {
    const items = [...this.menu.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = items.indexOf(this.menu.getRootNode().activeElement);
    items[(at + step + items.length) % items.length].focus();
  }
}
