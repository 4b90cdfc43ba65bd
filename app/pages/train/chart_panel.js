// One chart: axes, lines, the band of what a thinned point stands for, and a crosshair. The <svg> is made
// once and keeps its place in the page; new numbers only fill it anew.

const MARGIN = { left: 46, right: 10, top: 8, bottom: 22 };
const HEIGHT = 190;
const DRAGGED = 6; // px; less is a click

// About `count` round numbers from low to high.
function ticks(low, high, count) {
  const span = high - low || 1;
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
  return found;
}

// Powers of ten; where there are fewer than two, round numbers.
function logTicks(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); 10 ** power <= high * (1 + 1e-9); power += 1)
    found.push(10 ** power);
  return found.length > 1 ? found : ticks(low, high, 3).filter((value) => value > 0);
}

function numberText(value, unit) {
  if (unit === "%") return `${Number((value * 100).toPrecision(3))} %`;
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e6)) return value.toExponential(1).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

// Exponential moving average that does not lean towards its first value.
function smoothed(values, weight) {
  if (!weight) return values;
  let sum = 0;
  let norm = 0;
  return values.map((value) => {
    sum = weight * sum + (1 - weight) * value;
    norm = weight * norm + (1 - weight);
    return sum / norm;
  });
}

// Index of the last x that is at most `value`, or the first.
function indexAt(x, value) {
  let [low, high] = [0, x.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (x[middle] <= value) low = middle;
    else high = middle - 1;
  }
  const next = Math.min(low + 1, x.length - 1);
  return Math.abs(x[next] - value) < Math.abs(x[low] - value) ? next : low;
}

class Panel {
  constructor(owner) {
    this.owner = owner;
    this.title = el("h4");
    this.values = el("div", { class: "values" });
    this.ground = svg("rect", { class: "ground" });
    this.axes = svg("g", { class: "axes" });
    this.lines = svg("g", { class: "lines" });
    this.plot = svg("svg", { class: "plot", overflow: "hidden" }, this.lines);
    this.cross = svg("line", { class: "cross", visibility: "hidden" });
    this.dots = svg("g", { class: "dots" });
    this.brush = svg("rect", { class: "brush", visibility: "hidden" });
    this.svg = svg(
      "svg",
      { class: "chart", role: "img", tabindex: "0", height: HEIGHT },
      ...[this.ground, this.axes, this.plot, this.cross, this.dots, this.brush],
    );
    this.root = el("section", { class: "panel" }, el("header", {}, this.title, this.values), this.svg);
    this.listen();
  }

  listen() {
    const at = (event) => event.clientX - this.svg.getBoundingClientRect().left;
    this.svg.onpointerdown = (event) => {
      if (event.button !== 0) return;
      this.from = at(event);
      this.svg.setPointerCapture(event.pointerId);
    };
    this.svg.onpointermove = (event) => {
      this.owner.hover(this.xOf(at(event)));
      if (this.from !== undefined) this.showBrush(this.from, at(event));
    };
    this.svg.onpointerup = (event) => {
      const [a, b] = [this.from ?? at(event), at(event)].sort((p, q) => p - q);
      this.from = undefined;
      this.brush.setAttribute("visibility", "hidden");
      if (b - a >= DRAGGED) this.owner.zoomTo(this.xOf(a), this.xOf(b));
    };
    this.svg.onpointerleave = () => this.from === undefined && this.owner.hover(null);
    this.svg.ondblclick = () => this.owner.zoomTo(null);
    this.svg.onblur = () => this.owner.hover(null);
    this.svg.onkeydown = (event) => this.keyDown(event);
  }

  // Arrow keys move the crosshair, + and − zoom around it, Escape shows everything.
  keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [low, high] = this.owner.shownRange();
    const x = this.owner.hoverX ?? (low + high) / 2;
    const step = (high - low) / 60;
    const zoom = (factor) => this.owner.zoomTo(x - (x - low) * factor, x + (high - x) * factor);
    const actions = {
      ArrowLeft: () => this.owner.hover(clamp(x - step, low, high)),
      ArrowRight: () => this.owner.hover(clamp(x + step, low, high)),
      "+": () => zoom(0.5),
      "=": () => zoom(0.5),
      "-": () => zoom(2),
      Escape: () => this.owner.zoomTo(null),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  }

  showBrush(a, b) {
    const { left, width, top, height } = this.frame;
    const [from, to] = [Math.min(a, b), Math.max(a, b)].map((x) => clamp(x, left, left + width));
    const where = { x: from, y: top, width: to - from, height, visibility: "visible" };
    for (const [name, value] of Object.entries(where)) this.brush.setAttribute(name, value);
  }

  xOf(pixel) {
    const { left, width } = this.frame;
    const [low, high] = this.owner.shownRange();
    return low + (clamp(pixel - left, 0, width) / width) * (high - low);
  }

  setData(panel) {
    this.panel = panel;
    this.title.textContent = panel.title;
  }

  // -- drawing ---------------------------------------------------------------------------------------

  draw() {
    const width = this.root.clientWidth;
    if (!width || !this.panel) return;
    const { smoothing, log } = this.owner;
    this.log = log && this.panel.log;
    this.frame = {
      left: MARGIN.left,
      top: MARGIN.top,
      width: Math.max(40, width - MARGIN.left - MARGIN.right),
      height: HEIGHT - MARGIN.top - MARGIN.bottom,
    };
    this.shown = this.panel.lines
      .filter((line) => line.x.length && this.owner.isShown(line.run))
      .map((line) => ({ ...line, at: this.owner.xs(line), soft: smoothed(line.y, smoothing) }));
    [this.low, this.high] = this.valueRange();
    this.svg.setAttribute("width", width);
    for (const node of [this.plot, this.ground])
      for (const [name, key] of Object.entries({ x: "left", y: "top", width: "width", height: "height" }))
        node.setAttribute(name, this.frame[key]);
    this.drawAxes();
    this.lines.replaceChildren(...this.markNodes(), ...this.shown.flatMap((line) => this.lineNodes(line)));
    this.drawHover();
    this.describe();
  }

  // What is seen of the values: the lines themselves, not the single values that a thinned point stands for.
  valueRange() {
    const [from, to] = this.owner.shownRange();
    let [low, high] = [Infinity, -Infinity];
    for (const { at, y, soft } of this.shown)
      for (let i = 0; i < at.length; i += 1) {
        if (at[i] < from || at[i] > to || (this.log && !(y[i] > 0))) continue;
        low = Math.min(low, y[i], soft[i]);
        high = Math.max(high, y[i], soft[i]);
      }
    if (low > high) return this.log ? [0.1, 1] : [0, 1];
    if (this.log) return low === high ? [low / 2, high * 2] : [low / 1.05, high * 1.05];
    if (this.panel.unit === "%") return [0, Math.min(1, Math.max(high * 1.08, 0.05))];
    const mark = this.panel.mark?.y;
    if (mark !== undefined) [low, high] = [Math.min(low, 0), Math.max(high, mark * 1.3)];
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - (low === 0 ? 0 : room), high + room];
  }

  px(x) {
    const [low, high] = this.owner.shownRange();
    return ((x - low) / (high - low || 1)) * this.frame.width;
  }

  py(value) {
    const scale = this.log ? Math.log10 : (n) => n;
    const share = (scale(value) - scale(this.low)) / (scale(this.high) - scale(this.low) || 1);
    return (1 - share) * this.frame.height;
  }

  drawAxes() {
    const { left, top, width, height } = this.frame;
    const nodes = [];
    const across = this.log ? logTicks(this.low, this.high) : ticks(this.low, this.high, 4);
    for (const value of across) {
      const y = top + this.py(value);
      nodes.push(svg("line", { class: "grid", x1: left, x2: left + width, y1: y, y2: y }));
      const text = numberText(value, this.panel.unit);
      nodes.push(svg("text", { class: "tick", x: left - 6, y: y + 3.5, "text-anchor": "end", text }));
    }
    const [from, to] = this.owner.shownRange();
    for (const value of ticks(from, to, Math.min(7, width / 70))) {
      const x = left + this.px(value);
      if (x < left - 1 || x > left + width + 1) continue;
      const anchor = x > left + width - 14 ? "end" : "middle";
      const text = Number(value.toPrecision(6)).toLocaleString("en");
      nodes.push(svg("line", { class: "notch", x1: x, x2: x, y1: top + height, y2: top + height + 4 }));
      nodes.push(svg("text", { class: "tick x", x, y: top + height + 16, "text-anchor": anchor, text }));
    }
    this.axes.replaceChildren(...nodes);
  }

  markNodes() {
    const { mark } = this.panel;
    if (!mark || (this.log && mark.y <= 0)) return [];
    const y = this.py(mark.y);
    const { width } = this.frame;
    return [
      svg("line", { class: "mark", x1: 0, x2: width, y1: y, y2: y }),
      svg("text", { class: "mark-text", x: width - 4, y: y - 4, "text-anchor": "end", text: mark.text }),
    ];
  }

  lineNodes(line) {
    const ok = (value) => !this.log || value > 0;
    const at = line.at.map((x) => Math.round(this.px(x) * 10) / 10);
    const points = (values) => {
      const found = [];
      for (let i = 0; i < values.length; i += 1)
        if (ok(values[i])) found.push(`${at[i]} ${Math.round(this.py(values[i]) * 10) / 10}`);
      return found;
    };
    const path = (values, name) => svg("path", { class: name, d: `M${points(values).join("L")}` });
    const group = svg("g", { class: line.thin ? "line thin" : "line", "data-run": line.run, "data-label": line.label });
    group.style.setProperty("--c", line.color);
    if (line.dash) group.style.setProperty("--dash", line.dash);
    if (line.low && !this.owner.smoothing) {
      const edge = [...points(line.high), ...points(line.low).reverse()];
      group.append(svg("path", { class: "band", d: `M${edge.join("L")}Z` }));
    }
    if (this.owner.smoothing) group.append(path(line.y, "raw"));
    group.append(path(line.soft, "curve"));
    // One point alone makes no line, and a few should be seen as such.
    if (line.x.length < 30)
      line.soft.forEach((value, i) => {
        if (ok(value)) group.append(svg("circle", { class: "point", cx: at[i], cy: this.py(value), r: 2.5 }));
      });
    return [group];
  }

  // Crosshair, and the values under it; without a pointer, the newest.
  drawHover() {
    if (!this.frame || !this.shown) return;
    const x = this.owner.hoverX;
    const { left, top, height } = this.frame;
    const inside = x !== null;
    this.cross.setAttribute("visibility", inside ? "visible" : "hidden");
    if (inside) {
      const where = { x1: left + this.px(x), x2: left + this.px(x), y1: top, y2: top + height };
      for (const [name, value] of Object.entries(where)) this.cross.setAttribute(name, value);
    }
    const dots = [];
    this.values.replaceChildren(
      ...this.shown.map((line) => {
        const i = inside ? indexAt(line.at, x) : line.x.length - 1;
        const value = line.soft[i];
        const [cx, cy] = [left + this.px(line.at[i]), top + this.py(value)];
        if (inside && Number.isFinite(cy) && cx >= left - 1) {
          const dot = svg("circle", { cx, cy: clamp(cy, top, top + height), r: 3.5 });
          dot.style.setProperty("--c", line.color);
          dots.push(dot);
        }
        const key = el("span", { class: "key" });
        key.style.setProperty("--c", line.color);
        const name = this.panel.lines.length > 1 ? `${line.label} ` : "";
        return el("span", { class: "value" }, key, name, el("b", { text: numberText(value, this.panel.unit) }));
      }),
    );
    this.dots.replaceChildren(...dots);
  }

  describe() {
    const said = this.shown.map((line) => {
      const [first, last] = [line.y[0], line.y[line.y.length - 1]].map((value) => numberText(value, this.panel.unit));
      return `${line.label} from ${first} to ${last}`;
    });
    this.svg.setAttribute("aria-label", `${this.panel.title} by ${this.owner.unit()}: ${said.join("; ")}`);
  }
}
