// @ts-check
// One chart: axes, lines, bands of the values that a point averages, and a crosshair. The <svg> is created once;
// new values only replace its contents.

import { el, fill, svg } from "../../components/dom.js";
import { clamp } from "../../components/numbers.js";
import { indexAt, logTicks, numberText, smoothed, ticks, valueRange } from "./scales.js";

/** @import { Curves } from "./chart.js" */
/** @import { Line, ChartPanel as PanelData } from "./chart_types.js" */

/** @typedef {Line & { at: number[], soft: number[] }} Shown at: x in the unit shown; soft: y smoothed */

const MARGIN = { left: 46, right: 10, top: 8, bottom: 22 };
const HEIGHT = 190;
const DRAGGED = 6; // px; less is a click

export class Panel {
  /** @param {Curves} owner */
  constructor(owner) {
    this.owner = owner;
    this.low = 0; // of the values' axis
    this.high = 1;
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
    /** @param {MouseEvent} event */
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

  /**
   * Arrow keys move the crosshair, + and − zoom around it, Escape shows everything.
   * @param {KeyboardEvent} event
   */
  keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [low, high] = this.owner.shownRange();
    const x = this.owner.hoverX ?? (low + high) / 2;
    const step = (high - low) / 60;
    /** @param {number} factor */
    const zoom = (factor) => this.owner.zoomTo(x - (x - low) * factor, x + (high - x) * factor);
    /** @type {Record<string, () => void>} */
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

  /**
   * @param {number} a
   * @param {number} b
   */
  showBrush(a, b) {
    const { left, width, top, height } = this.frame;
    const [from, to] = [Math.min(a, b), Math.max(a, b)].map((x) => clamp(x, left, left + width));
    fill(this.brush, { x: from, y: top, width: to - from, height, visibility: "visible" });
  }

  /** @param {number} pixel */
  xOf(pixel) {
    const { left, width } = this.frame;
    const [low, high] = this.owner.shownRange();
    return low + (clamp(pixel - left, 0, width) / width) * (high - low);
  }

  /** @param {PanelData} panel */
  setData(panel) {
    this.panel = panel;
    this.title.textContent = panel.title;
  }

  // -- drawing ---------------------------------------------------------------------------------------

  draw() {
    const width = this.root.clientWidth;
    if (!width || !this.panel) return;
    const { smoothing, log } = this.owner.look;
    this.log = log && this.panel.log;
    this.frame = {
      left: MARGIN.left,
      top: MARGIN.top,
      width: Math.max(40, width - MARGIN.left - MARGIN.right),
      height: HEIGHT - MARGIN.top - MARGIN.bottom,
    };
    /** @type {Shown[]} */
    this.shown = this.panel.lines
      .filter((line) => line.x.length && this.owner.isShown(line.run))
      .map((line) => ({ ...line, at: this.owner.xs(line), soft: smoothed(line.y, smoothing) }));
    const { unit, mark } = this.panel;
    [this.low, this.high] = valueRange(this.shown, this.owner.shownRange(), { log: this.log, unit, mark: mark?.y });
    fill(this.svg, { width });
    const { left: x, top: y, ...size } = this.frame;
    for (const node of [this.plot, this.ground]) fill(node, { x, y, ...size });
    this.drawAxes();
    this.lines.replaceChildren(...this.markNodes(), ...this.shown.flatMap((line) => this.lineNodes(line)));
    this.drawHover();
    this.describe();
  }

  /** @param {number} x */
  px(x) {
    const [low, high] = this.owner.shownRange();
    return ((x - low) / (high - low || 1)) * this.frame.width;
  }

  /** @param {number} value */
  py(value) {
    const scale = this.log ? Math.log10 : (/** @type {number} */ n) => n;
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

  /** @param {Shown} line */
  lineNodes(line) {
    /** @param {number} value */
    const ok = (value) => !this.log || value > 0;
    const at = line.at.map((x) => Math.round(this.px(x) * 10) / 10);
    /** @param {number[]} values */
    const points = (values) => {
      const found = [];
      for (let i = 0; i < values.length; i += 1)
        if (ok(values[i])) found.push(`${at[i]} ${Math.round(this.py(values[i]) * 10) / 10}`);
      return found;
    };
    /** @type {(values: number[], name: string) => SVGElement} */
    const path = (values, name) => svg("path", { class: name, d: `M${points(values).join("L")}` });
    const group = svg("g", { class: line.thin ? "line thin" : "line", "data-run": line.run, "data-label": line.label });
    group.style.setProperty("--c", line.color);
    if (line.dash) group.style.setProperty("--dash", line.dash);
    if (line.low && !this.owner.look.smoothing) {
      const edge = [...points(line.high), ...points(line.low).reverse()];
      group.append(svg("path", { class: "band", d: `M${edge.join("L")}Z` }));
    }
    if (this.owner.look.smoothing) group.append(path(line.y, "raw"));
    group.append(path(line.soft, "curve"));
    // A single point makes no line, and few points should be visible as points.
    if (line.x.length < 30)
      line.soft.forEach((value, i) => {
        if (ok(value)) group.append(svg("circle", { class: "point", cx: at[i], cy: this.py(value), r: 2.5 }));
      });
    return [group];
  }

  // Draws the crosshair and the values at it; without a pointer, the newest values.
  drawHover() {
    if (!this.frame || !this.shown) return;
    const x = this.owner.hoverX;
    const { left, top, height } = this.frame;
    const inside = x !== null;
    this.cross.setAttribute("visibility", inside ? "visible" : "hidden");
    if (inside) {
      fill(this.cross, { x1: left + this.px(x), x2: left + this.px(x), y1: top, y2: top + height });
    }
    /** @type {SVGElement[]} */
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
