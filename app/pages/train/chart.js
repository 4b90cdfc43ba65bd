// @ts-check
// All panels, with a common zoom, crosshair and x axis.

import { AddressBar, lastingLink } from "../../components/address.js";
import { el, svg } from "../../components/dom.js";
import { entry } from "../../components/entry.js";
import { clamp } from "../../components/numbers.js";
import { SaveMenu } from "../../components/save.js";
import { asShown } from "../../components/shown.js";
import { captionOf, fromAddress, inAddress } from "./chart_look.js";
import { Panel } from "./chart_panel.js";

/** @import { CurvesPayload, Line } from "./chart_types.js" */

export class Curves {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {CurvesPayload | null} */
    this.data = null;
    /** @type {Map<string, Panel>} */
    this.panels = new Map(); // name → Panel
    this.drawnLegend = ""; // the data, as text
    this.look = fromAddress(new URLSearchParams());
    /** @type {number | null} */
    this.hoverX = null;
    this.legend = el("div", { class: "legend", role: "group", "aria-label": "Runs" });
    this.grid = el("div", { class: "grid-of-panels" });
    this.address = new AddressBar(this);
    root.replaceChildren(this.toolbar(), this.grid);
    this.address.read();
    this.resizer = new ResizeObserver(() => this.draw());
    this.resizer.observe(root);
  }

  destroy() {
    this.resizer.disconnect();
    this.address.destroy();
  }

  toolbar() {
    this.slider = el("input", { type: "range", min: "0", max: "0.99", step: "0.01" });
    this.smoothed = el("output");
    this.slider.oninput = () => {
      this.look.smoothing = Number(this.slider.value);
      this.show();
    };
    /**
     * @param {string} text
     * @param {() => void} flip
     */
    const toggle = (text, flip) => {
      const onclick = () => {
        flip();
        this.show();
      };
      return el("button", { type: "button", text, onclick });
    };
    this.epochs = toggle("By epoch", () => {
      this.look.byEpoch = !this.look.byEpoch;
      this.look.range = null; // its unit has changed
    });
    this.logarithm = toggle("Log scale", () => (this.look.log = !this.look.log));
    this.reset = el("button", { type: "button", text: "Reset zoom", hidden: true, onclick: () => this.zoomTo(null) });
    this.hint = el("span", { class: "hint", text: "Drag across a chart to zoom, double-click to reset" });
    this.save = new SaveMenu(this);
    const slider = el("label", { class: "slider" }, "Smoothing", this.slider, this.smoothed);
    return el(
      "div",
      { class: "bar" },
      slider,
      this.epochs,
      this.logarithm,
      this.reset,
      this.hint,
      this.save.root,
      this.legend,
    );
  }

  // Draws a change at once, and writes it to the URL soon.
  show() {
    this.draw();
    this.address.write();
  }

  inAddress() {
    return inAddress(this.look);
  }

  /** @param {URLSearchParams} parameters */
  fromAddress(parameters) {
    this.look = fromAddress(parameters);
    if (!this.data) return;
    this.drawLegend();
    this.draw();
  }

  // -- what is saved, as SaveMenu asks for it --------------------------------------------------------

  picture() {
    return asShown(...(this.legend.hidden ? [] : [this.legend]), this.grid);
  }

  captionLines() {
    const { figure, panels, runs } = this.data;
    const banded = panels.some((panel) => panel.lines.some((line) => line.low));
    const off = runs.filter((run) => !this.isShown(run.id)).map((run) => run.id);
    const look = { ...this.look, byEpoch: this.byEpoch() };
    return [...figure.caption, captionOf(look, { range: this.shownRange(), banded, off })];
  }

  fileName() {
    return this.data.figure.name;
  }

  link() {
    this.address.writeNow();
    return lastingLink(this.data.figure.place);
  }

  // -- data ------------------------------------------------------------------------------------------

  /** @param {CurvesPayload} data */
  setData(data) {
    if (!data || data === this.data) return; // a theme change runs the entry point again
    this.data = data;
    this.perEpoch = new Map(data.runs.map((run) => [run.id, run.per_epoch]));
    const names = data.panels.map((panel) => panel.name);
    for (const name of this.panels.keys()) if (!names.includes(name)) this.panels.delete(name);
    for (const panel of data.panels) {
      if (!this.panels.has(panel.name)) this.panels.set(panel.name, new Panel(this));
      this.panels.get(panel.name).setData(panel);
    }
    const wanted = names.map((name) => this.panels.get(name).root);
    if (wanted.some((node, i) => this.grid.children[i] !== node) || this.grid.children.length !== wanted.length)
      this.grid.replaceChildren(...wanted);
    this.drawLegend();
    this.draw();
  }

  drawLegend() {
    const runs = this.data.runs.length > 1 ? this.data.runs : [];
    this.legend.hidden = !runs.length;
    const drawn = JSON.stringify([runs, [...this.look.hidden]]);
    if (this.drawnLegend === drawn) return; // keeps the focus
    this.drawnLegend = drawn;
    this.legend.replaceChildren(
      ...runs.map((run) => {
        const stroke = svg("svg", { class: "stroke", width: 26, height: 10, "aria-hidden": "true" });
        stroke.append(svg("line", { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-dasharray": run.dash || null }));
        stroke.style.setProperty("--c", run.color);
        const shown = this.isShown(run.id);
        const flip = () => {
          const { hidden } = this.look;
          if (!hidden.delete(run.id)) hidden.add(run.id);
          this.drawLegend();
          this.show();
        };
        const props = { type: "button", class: "run", "aria-pressed": String(shown), onclick: flip };
        return el("button", props, stroke, el("span", { text: `${run.id} · ${run.name}` }));
      }),
    );
  }

  /** @param {number} run */
  isShown(run) {
    return !this.look.hidden.has(run);
  }

  // Only if every run has epochs; an adaptation has none.
  byEpoch() {
    return this.look.byEpoch && this.haveEpochs();
  }

  haveEpochs() {
    return this.data.runs.every((run) => run.per_epoch !== null);
  }

  unit() {
    return this.byEpoch() ? "epoch" : "step";
  }

  /** @param {Line} line */
  xs(line) {
    if (!this.byEpoch()) return line.x;
    const per = this.perEpoch.get(line.run);
    return line.x.map((step) => step / per);
  }

  // -- range -----------------------------------------------------------------------------------------

  /** @returns {[number, number]} */
  fullRange() {
    let last = 0;
    for (const panel of this.data.panels)
      for (const line of panel.lines)
        if (line.x.length && this.isShown(line.run)) last = Math.max(last, this.xs(line).at(-1));
    return [0, last || 1];
  }

  /** @returns {[number, number] | null} the zoom, unless it was chosen in the other unit */
  zoom() {
    return this.look.byEpoch === this.byEpoch() ? this.look.range : null;
  }

  /** @returns {[number, number]} */
  shownRange() {
    return this.zoom() ?? this.whole ?? [0, 1];
  }

  /**
   * @param {number | null} from null: everything
   * @param {number} [to]
   */
  zoomTo(from, to) {
    const [low, high] = this.fullRange();
    /** @type {[number, number] | null} */
    const range = from === null ? null : [clamp(from, low, high), clamp(to, low, high)];
    this.look.range = range && range[1] > range[0] && range[1] - range[0] < high - low ? range : null;
    if (this.look.range) this.look.byEpoch = this.byEpoch();
    this.show();
  }

  /** @param {number | null} x */
  hover(x) {
    if (x === this.hoverX) return;
    this.hoverX = x;
    for (const panel of this.panels.values()) panel.drawHover();
  }

  draw() {
    if (!this.data) return;
    this.whole = this.fullRange();
    const { smoothing, log } = this.look;
    const zoom = this.zoom();
    this.reset.hidden = zoom === null;
    this.hint.hidden = zoom !== null;
    this.slider.value = String(smoothing);
    this.smoothed.textContent = String(smoothing);
    this.epochs.hidden = !this.haveEpochs();
    this.epochs.setAttribute("aria-pressed", String(this.byEpoch()));
    this.logarithm.setAttribute("aria-pressed", String(log));
    this.root.dataset.unit = this.unit();
    this.root.dataset.range = this.shownRange().join(" ");
    for (const panel of this.panels.values()) panel.draw();
  }
}

export default entry(".curves", Curves);
