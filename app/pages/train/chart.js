// The panels together: one zoom, one crosshair and one set of axes for all of them.

class Curves {
  constructor(root) {
    this.root = root;
    this.panels = new Map(); // name → Panel
    this.range = null; // of x, in the unit shown; null: everything
    this.hoverX = null;
    this.smoothing = 0;
    this.log = false;
    this.byEpoch = false;
    this.hidden = new Set(); // ids of runs
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
      this.smoothing = Number(this.slider.value);
      this.show();
    };
    const toggle = (text, flip) => {
      const onclick = () => {
        flip();
        this.show();
      };
      return el("button", { type: "button", text, onclick });
    };
    this.epochs = toggle("By epoch", () => {
      this.byEpoch = !this.byEpoch;
      this.range = null; // it was in the other unit
    });
    this.logarithm = toggle("Log scale", () => (this.log = !this.log));
    this.reset = el("button", { type: "button", text: "Reset zoom", hidden: true, onclick: () => this.zoomTo(null) });
    this.hint = el("span", { class: "hint", text: "Drag across a chart to zoom, double-click to see all" });
    this.save = new SaveMenu(this);
    const slider = el("label", { class: "slider" }, "Smoothing", this.slider, this.smoothed);
    return el("div", { class: "bar" }, slider, this.epochs, this.logarithm, this.reset, this.hint, this.save.root, this.legend);
  }

  // What a person has changed: on screen at once, in the URL soon.
  show() {
    this.draw();
    this.address.write();
  }

  inAddress() {
    return {
      smooth: this.smoothing ? String(this.smoothing) : "",
      unit: this.byEpoch ? "epoch" : "",
      scale: this.log ? "log" : "",
      span: this.range ? this.range.map((x) => Number(x.toPrecision(6))).join("-") : "",
      off: [...this.hidden].join("."),
    };
  }

  fromAddress(parameters) {
    const smoothing = Number.parseFloat(parameters.get("smooth"));
    this.smoothing = smoothing >= 0 && smoothing < 1 ? smoothing : 0;
    this.byEpoch = parameters.get("unit") === "epoch";
    this.log = parameters.get("scale") === "log";
    const [from, to] = (parameters.get("span") ?? "").split("-").map(Number.parseFloat);
    this.range = from < to ? [from, to] : null; // not when either is no number
    this.hidden = new Set((parameters.get("off") ?? "").split(".").map(Number).filter(Boolean));
    if (!this.data) return;
    this.drawLegend();
    this.draw();
  }

  // What is saved, as SaveMenu asks for it.

  picture() {
    return asShown(...(this.legend.hidden ? [] : [this.legend]), this.grid);
  }

  captionLines() {
    const [from, to] = this.shownRange().map((x) => Number(x.toPrecision(4)).toLocaleString("en"));
    const banded = this.data.panels.some((panel) => panel.lines.some((line) => line.low));
    const off = this.data.runs.filter((run) => !this.isShown(run.id)).map((run) => run.id);
    const facts = [
      `${this.unit()}s ${from} to ${to}`,
      this.smoothing ? `smoothed by ${this.smoothing}` : "",
      banded && !this.smoothing ? "bands from the least to the greatest value of the steps of a point" : "",
      this.log ? "logarithmic where values allow" : "",
      off.length ? `hidden: ${off.join(", ")}` : "",
    ];
    return [...this.data.figure.caption, `Curves: ${facts.filter(Boolean).join("; ")}.`];
  }

  fileName() {
    return this.data.figure.name;
  }

  link() {
    this.address.writeNow();
    return lastingLink(this.data.figure.place);
  }

  // -- data ------------------------------------------------------------------------------------------

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
    if (this.legend.fingerprint === JSON.stringify([runs, [...this.hidden]])) return; // keeps the focus
    this.legend.fingerprint = JSON.stringify([runs, [...this.hidden]]);
    this.legend.replaceChildren(
      ...runs.map((run) => {
        const stroke = svg("svg", { class: "stroke", width: 26, height: 10, "aria-hidden": "true" });
        stroke.append(svg("line", { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-dasharray": run.dash || null }));
        stroke.style.setProperty("--c", run.color);
        const shown = !this.hidden.has(run.id);
        const flip = () => {
          if (!this.hidden.delete(run.id)) this.hidden.add(run.id);
          this.drawLegend();
          this.show();
        };
        const props = { type: "button", class: "run", "aria-pressed": String(shown), onclick: flip };
        return el("button", props, stroke, el("span", { text: `${run.id} · ${run.name}` }));
      }),
    );
  }

  isShown(run) {
    return !this.hidden.has(run);
  }

  unit() {
    return this.byEpoch ? "epoch" : "step";
  }

  xs(line) {
    if (!this.byEpoch) return line.x;
    const per = this.perEpoch.get(line.run);
    return line.x.map((step) => step / per);
  }

  // -- range -----------------------------------------------------------------------------------------

  fullRange() {
    let last = 0;
    for (const panel of this.data.panels)
      for (const line of panel.lines)
        if (line.x.length && this.isShown(line.run)) last = Math.max(last, this.xs(line).at(-1));
    return [0, last || 1];
  }

  shownRange() {
    return this.range ?? this.whole ?? [0, 1];
  }

  zoomTo(from, to) {
    const [low, high] = this.fullRange();
    const range = from === null ? null : [clamp(from, low, high), clamp(to, low, high)];
    this.range = range && range[1] > range[0] && range[1] - range[0] < high - low ? range : null;
    this.show();
  }

  hover(x) {
    if (x === this.hoverX) return;
    this.hoverX = x;
    for (const panel of this.panels.values()) panel.drawHover();
  }

  draw() {
    if (!this.data) return;
    this.whole = this.fullRange();
    this.reset.hidden = this.range === null;
    this.hint.hidden = this.range !== null;
    this.slider.value = this.smoothing;
    this.smoothed.textContent = String(this.smoothing);
    this.epochs.setAttribute("aria-pressed", String(this.byEpoch));
    this.logarithm.setAttribute("aria-pressed", String(this.log));
    this.root.dataset.unit = this.unit();
    this.root.dataset.range = this.shownRange().join(" ");
    for (const panel of this.panels.values()) panel.draw();
  }
}

export default entry(".curves", Curves);
