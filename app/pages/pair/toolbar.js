// @ts-check
// Display options: layers, heat maps, minimum similarity, zoom.

import { gradient } from "../../components/colours.js";
import { el, icon } from "../../components/dom.js";
import { SaveMenu } from "../../components/save.js";
import { plural } from "../../components/words.js";

/** @import { IconName } from "../../components/dom.js" */
/** @import { PairPayload } from "./component_types.js" */
/** @import { Layers } from "../../components/stage/looking.js" */
/** @import { PairView } from "./view.js" */

/** @type {[keyof Layers, string, string][]} name, label, tooltip */
const LAYERS = [
  ["boxes", "Boxes", "Show RoIs (hold H to hide everything)"],
  ["links", "Links", "Show links between paired RoIs (L)"],
  ["rejected", "Rejected", "Show rejected boxes. Click one to see why (R)"],
  ["attention", "Attention", "Show where the network responds (A)"],
  ["matrix", "Matrix", "Show the similarity of all query RoIs to all neighbour RoIs (M)"],
];

export class Toolbar {
  /** @param {PairView} view */
  constructor(view) {
    this.view = view;
    /** @type {Record<string, HTMLButtonElement>} */
    this.toggles = Object.fromEntries(LAYERS.map((layer) => [layer[0], this.toggle(...layer)]));
    this.opacity = el("input", { type: "range", min: 0, max: 1, step: 0.05, "aria-label": "Attention opacity" });
    this.opacity.oninput = () => view.setOpacity(Number(this.opacity.value));
    this.legendLow = el("span");
    this.legendHigh = el("span");
    this.legendBar = el("span", { class: "legend-bar" });
    this.legendLabel = el("span", { class: "legend-label" });
    this.legend = el(
      "div",
      { class: "legend" },
      this.opacity,
      el("span", { class: "legend-scale" }, this.legendLow, this.legendBar, this.legendHigh),
      this.legendLabel,
    );
    const label = "Minimum similarity shown";
    this.range = el("input", { type: "range", step: 0.001, class: "threshold", "aria-label": label });
    this.range.oninput = () => view.setThreshold(Number(this.range.value));
    this.value = el("output", { class: "threshold-value" });
    this.count = el("span", { class: "count" });
    this.threshold = el("label", { class: "slider" }, el("span", { text: "cos ≥" }), this.range, this.value);
    for (const input of [this.opacity, this.range]) input.onpointerup = () => input.blur(); // return the keys
    /** @type {(name: IconName, title: string, onclick: () => void) => HTMLElement & { disabled: boolean }} */
    const button = (name, title, onclick) =>
      el("button", { type: "button", class: "tool", title, "aria-label": title, onclick }, icon(name));
    this.zoomIn = button("zoom", "Zoom to the selected pair (Z)", () => view.zoomToPair());
    this.zoomOut = button("reset", "Reset zoom (0)", () => view.stage.resetZoom());
    const search = "Search the whole set with the selected RoI, or with the query photo (S)";
    this.search = button("search", search, () => view.search());
    this.help = el("button", {
      type: "button",
      class: "tool",
      text: "?",
      title: "Keys (?)",
      "aria-label": "Keys",
      onclick: () => view.help.toggle(),
    });
    this.save = new SaveMenu(view);
    /** @type {(name: string, ...children: Node[]) => HTMLElement} */
    const group = (name, ...children) => el("div", { class: `group ${name}` }, ...children);
    this.root = el(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "View" },
      group("layers", ...Object.values(this.toggles)),
      this.legend,
      group(
        "filter",
        this.threshold,
        this.count,
        group("zooms", this.search, this.zoomIn, this.zoomOut, this.save.root, this.help),
      ),
    );
  }

  /**
   * @param {keyof Layers} name
   * @param {string} label
   * @param {string} title
   */
  toggle(name, label, title) {
    const count = el("span", { class: "toggle-count" });
    const onclick = () => this.view.toggleLayer(name);
    const attributes = { type: "button", class: "toggle", "data-layer": name, title, onclick };
    return el("button", attributes, icon(name), el("span", { text: label }), count);
  }

  /** @param {PairPayload} data */
  setData(data) {
    const rejected = data.query.rejected.length + (data.neighbor?.rejected.length ?? 0);
    this.toggles.rejected.lastChild.textContent = String(rejected);
    this.toggles.rejected.disabled = rejected === 0;
    this.toggles.attention.hidden = !data.attention;
    this.toggles.matrix.hidden = !data.matrix;
    if (data.attention) {
      const { label, low, high, colors } = data.attention;
      this.legendLow.textContent = low;
      this.legendHigh.textContent = high;
      this.legendLabel.textContent = label;
      this.legendLabel.title = label;
      this.legendBar.style.background = gradient(colors);
    }
    const values = this.view.pairs.map((pair) => pair.similarity);
    this.threshold.hidden = values.length < 2;
    if (values.length) {
      this.range.min = String(Math.floor(Math.min(...values) * 1000) / 1000);
      this.range.max = String(Math.floor(Math.max(...values) * 1000) / 1000);
    }
    this.paint();
  }

  paint() {
    const { layers, threshold, pairs, opacity } = this.view;
    for (const [name] of LAYERS) this.toggles[name].setAttribute("aria-pressed", String(layers[name]));
    this.legend.hidden = !layers.attention || !this.view.data.attention;
    this.opacity.value = String(opacity);
    this.range.value = String(threshold ?? this.range.min);
    this.value.textContent = Number(threshold ?? this.range.min).toFixed(3);
    const shown = this.view.visiblePairs().length;
    this.count.textContent = shown === pairs.length ? plural(shown, "pair") : `${shown} of ${pairs.length} pairs`;
    this.zoomIn.disabled = pairs.length === 0;
    this.showZoom();
  }

  showZoom() {
    this.zoomOut.disabled = !this.view.stage.zoomed();
  }
}
