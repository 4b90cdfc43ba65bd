// One photo of the stage: a nested <svg> whose viewBox is the visible part in the photo's own pixels. It
// clips itself, and zooming is nothing but another viewBox.

const CAPTION = 40; // room above each photo for its two lines of text
const MAX_ZOOM = 16;

// Okabe–Ito without black, plus two of Tol's. Light colours get a dark halo, dark ones a white halo, so
// that a line stands out from any photo.
const DARK = "rgb(0 0 0 / 72%)";
const LIGHT = "rgb(255 255 255 / 88%)";
const PALETTE = [
  ["#E69F00", DARK],
  ["#56B4E9", DARK],
  ["#CC79A7", DARK],
  ["#009E73", LIGHT],
  ["#F0E442", DARK],
  ["#D55E00", LIGHT],
  ["#0072B2", LIGHT],
  ["#AA3377", LIGHT],
  ["#BBCC33", DARK],
].map(([color, halo]) => ({ color, halo }));
const OUTSIDE = { color: "#FFFFFF", halo: DARK, sign: "–" }; // of a pair that is not among the kept ones

const area = ([, , width, height]) => width * height;
const sizeText = (box) => `${Math.round(box[2])} × ${Math.round(box[3])}`;

function boxElement(record) {
  const [x, y, width, height] = record.box;
  const rect = (name) => svg("rect", { class: name, x, y, width, height, rx: 0 });
  return svg(
    "g",
    { class: `box ${record.kind}`, "data-side": record.side, "data-index": record.index },
    rect("halo"),
    rect("line"),
  );
}

class Side {
  constructor(name) {
    this.name = name;
    this.view = { zoom: 1, u: 0, v: 0 }; // top-left corner of the visible part, as fractions of the photo
    this.records = [];
    this.photoImage = svg("image", { class: "photo", preserveAspectRatio: "none" });
    this.attentionImage = svg("image", { class: "attention", preserveAspectRatio: "none" });
    this.rejectedLayer = svg("g", { class: "rejected-layer" });
    this.boxLayer = svg("g", { class: "box-layer" });
    this.ground = svg("rect", { class: "ground" });
    this.message = svg("text", { class: "frame-message", "text-anchor": "middle" });
    this.border = svg("rect", { class: "frame-border" });
    this.inner = svg(
      "svg",
      { class: `frame ${name}`, "data-side": name, role: "img", preserveAspectRatio: "none", overflow: "hidden" },
      this.ground,
      this.photoImage,
      this.attentionImage,
      this.rejectedLayer,
      this.boxLayer,
    );
    this.caption = el("div", { class: "caption" });
    this.photoImage.onload = () => this.setMessage("");
    this.photoImage.onerror = () => this.setMessage("photo not found on disk");
    this.attentionImage.onerror = () => this.attentionImage.removeAttribute("href");
  }

  setMessage(text) {
    this.message.textContent = text;
    this.photoImage.classList.toggle("broken", text !== "");
  }

  setPhoto(photo) {
    const changed = photo?.id !== this.photo?.id || photo?.url !== this.photo?.url;
    this.photo = photo;
    const { width, height } = this.size();
    for (const node of [this.ground, this.photoImage, this.attentionImage]) {
      node.setAttribute("width", width);
      node.setAttribute("height", height);
    }
    if (!photo) {
      this.photoImage.removeAttribute("href");
      this.setMessage("no neighbour to show");
    } else if (changed) {
      this.setMessage("");
      this.photoImage.setAttribute("href", photo.url);
    }
    this.inner.setAttribute("aria-label", photo ? `${this.title()}: ${photo.name}` : "no neighbour");
    this.caption.replaceChildren(
      el("span", { class: "caption-title", text: this.title() }),
      el("span", { class: "caption-name", title: photo?.name, text: photo?.name ?? "" }),
    );
    this.setBoxes(photo);
    return changed;
  }

  title() {
    if (this.name === "query") return "query";
    if (this.photo?.rank === null) return "not a neighbour in this set";
    return this.photo ? `neighbour ${this.photo.rank} · cos ${this.photo.similarity.toFixed(2)}` : "neighbour";
  }

  size() {
    return this.photo ?? { width: 400, height: 300 };
  }

  // Large boxes first, so that a small one inside a large one is drawn, and found, on top.
  setBoxes(photo) {
    const make = (kind, box, index, why) => ({ side: this.name, kind, box, index, why });
    this.kept = (photo?.boxes ?? []).map((box, index) => make("candidate", box, index));
    this.rejected = (photo?.rejected ?? []).map((entry, index) => make("rejected", entry.box, index, entry));
    this.records = [...this.rejected, ...this.kept];
    for (const record of this.records) record.node = boxElement(record);
    const nodes = (records) => [...records].sort((a, b) => area(b.box) - area(a.box)).map((record) => record.node);
    this.boxLayer.replaceChildren(...nodes(this.kept));
    // The more candidates, the fainter each: together they must not veil the photo.
    this.boxLayer.style.setProperty("--quiet", clamp(12 / this.kept.length, 0.36, 1));
    this.rejectedLayer.replaceChildren(...nodes(this.rejected));
  }

  place(frame) {
    this.frame = frame;
    for (const node of [this.inner, this.border])
      for (const name of ["x", "y", "width", "height"]) node.setAttribute(name, frame[name]);
    this.message.setAttribute("x", frame.x + frame.width / 2);
    this.message.setAttribute("y", frame.y + frame.height / 2);
    const [left, top, width] = [frame.x, frame.y - CAPTION, frame.width].map((value) => `${value}px`);
    Object.assign(this.caption.style, { left, top, width });
    this.applyView();
  }

  setView({ zoom, u, v }) {
    const z = clamp(zoom, 1, MAX_ZOOM);
    this.view = { zoom: z, u: clamp(u, 0, 1 - 1 / z), v: clamp(v, 0, 1 - 1 / z) };
    this.applyView();
  }

  applyView() {
    const { width, height } = this.size();
    const { zoom, u, v } = this.view;
    this.inner.setAttribute("viewBox", `${u * width} ${v * height} ${width / zoom} ${height / zoom}`);
  }

  // The view in which a box fills about half of the frame.
  viewOf(box) {
    const { width, height } = this.size();
    const zoom = clamp(0.55 / Math.max(box[2] / width, box[3] / height), 1, 6);
    const centre = [(box[0] + box[2] / 2) / width, (box[1] + box[3] / 2) / height];
    return { zoom, u: centre[0] - 0.5 / zoom, v: centre[1] - 0.5 / zoom };
  }

  toStage(x, y) {
    const { width, height } = this.size();
    const { zoom, u, v } = this.view;
    const { frame } = this;
    return [frame.x + (x / width - u) * zoom * frame.width, frame.y + (y / height - v) * zoom * frame.height];
  }

  toPhoto(x, y) {
    const { width, height } = this.size();
    const { zoom, u, v } = this.view;
    const { frame } = this;
    return [((x - frame.x) / frame.width / zoom + u) * width, ((y - frame.y) / frame.height / zoom + v) * height];
  }

  // A box in stage coordinates, cut to the frame; null when it is out of sight.
  visibleRect(box) {
    const [left, top] = this.toStage(box[0], box[1]);
    const [right, bottom] = this.toStage(box[0] + box[2], box[1] + box[3]);
    const { x, y, width, height } = this.frame;
    const cut = {
      left: clamp(left, x, x + width),
      right: clamp(right, x, x + width),
      top: clamp(top, y, y + height),
      bottom: clamp(bottom, y, y + height),
    };
    return { ...cut, hidden: right <= x || left >= x + width || bottom <= y || top >= y + height };
  }

  contains(x, y) {
    const { frame } = this;
    return x >= frame.x && x <= frame.x + frame.width && y >= frame.y && y <= frame.y + frame.height;
  }
}
