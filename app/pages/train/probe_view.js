// The probes: which photos, which checkpoint, and playing through them.

const PACE = 700; // ms for each checkpoint
const REST = 350; // ms without a change before the server is told
let looks = 0; // makes equal events distinguishable

class Probes {
  constructor(root) {
    this.root = root;
    this.couple = 0;
    this.at = 0;
    this.showOwn = true;
    this.stage = new ProbeStage();
    this.trend = new ProbeCurve((at) => this.goTo(at));
    this.strip = el("div", { class: "strip", role: "group", "aria-label": "Query and neighbour" });
    this.play = el("button", { type: "button", class: "play", onclick: () => this.toggle() });
    this.slider = el("input", { type: "range", min: "0", step: "1", "aria-label": "Checkpoint" });
    this.slider.oninput = () => this.goTo(Number(this.slider.value));
    this.when = el("output");
    this.own = el("input", { type: "checkbox", checked: true });
    this.own.onchange = () => {
      this.showOwn = this.own.checked;
      this.draw();
    };
    this.ownText = el("span");
    this.keys = el("span", { class: "keys" });
    this.text = el("span");
    this.summary = el("p", { class: "summary", role: "status" }, this.keys, this.text);
    const legend = el("label", { class: "own-toggle" }, this.own, this.ownText);
    this.save = new SaveMenu(this);
    const bar = el("div", { class: "bar" }, this.play, this.slider, this.when, legend, this.save.root);
    root.replaceChildren(this.strip, bar, this.stage.root, this.summary, this.trend.root);
    this.resizer = new ResizeObserver(() => this.draw());
    this.resizer.observe(root);
    this.pause();
  }

  destroy() {
    clearInterval(this.timer);
    clearTimeout(this.rest);
    this.resizer.disconnect();
  }

  setData(data) {
    if (!data || data === this.data) return;
    const before = this.data;
    const following = before && this.at === before.checkpoints.length - 1;
    const step = before?.checkpoints[this.at].step ?? data.step;
    this.data = data;
    if (!before) this.couple = clamp(data.couple, 0, data.couples.length - 1);
    this.couple = Math.min(this.couple, data.couples.length - 1);
    const last = data.checkpoints.length - 1;
    const kept = data.checkpoints.findIndex((checkpoint) => checkpoint.step === step);
    this.at = following || kept < 0 ? last : kept;
    this.slider.max = String(last);
    this.slider.disabled = this.play.disabled = last === 0;
    this.ownText.textContent = `pairs of the set ${data.own}`;
    this.drawStrip();
    this.draw();
  }

  drawStrip() {
    const key = JSON.stringify([this.data.couples.map(({ query, neighbor }) => [query.thumb, neighbor.thumb])]);
    if (key !== this.strip.key) {
      this.strip.key = key;
      const thumb = (photo) => el("img", { src: photo.thumb, alt: photo.name, decoding: "async" });
      this.strip.replaceChildren(
        ...this.data.couples.map(({ query, neighbor }, i) =>
          el(
            "button",
            {
              type: "button",
              onclick: () => {
                this.couple = i;
                this.draw();
                this.tell();
              },
            },
            thumb(query),
            thumb(neighbor),
          ),
        ),
      );
    }
  }

  // -- time ------------------------------------------------------------------------------------------

  goTo(at) {
    this.pause();
    this.at = at;
    this.draw();
    this.tell();
  }

  toggle() {
    if (this.timer) {
      this.pause();
      this.tell();
      return;
    }
    if (this.at === this.data.checkpoints.length - 1) this.at = -1; // from the start
    this.play.textContent = "❚❚ Pause";
    const forward = () => {
      this.at += 1;
      this.draw();
      if (this.at >= this.data.checkpoints.length - 1) {
        this.pause();
        this.tell();
      }
    };
    this.timer = setInterval(forward, PACE);
    forward();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "▶ Play";
  }

  // The server keeps the place in the URL; it needs no report while a slider moves.
  tell() {
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      const { step } = this.data.checkpoints[this.at];
      this.send("look", { couple: this.couple, step, n: (looks += 1) });
    }, REST);
  }

  // -- what is saved, as SaveMenu asks for it ----------------------------------------------------------

  picture() {
    return asShown(this.stage.root, this.summary, this.trend.root);
  }

  captionLines() {
    const { query, neighbor } = this.data.couples[this.couple];
    const own = this.showOwn && this.data.own ? ` White: ${this.ownText.textContent}.` : "";
    return [...this.data.figure.caption, `${query.name} and ${neighbor.name}, ${this.when.textContent}.${own}`];
  }

  fileName() {
    return `${this.data.figure.name}-${this.data.checkpoints[this.at].step}`;
  }

  link() {
    const { step } = this.data.checkpoints[this.at];
    return lastingLink({ ...this.data.figure.place, couple: String(this.couple), at: String(step) });
  }

  // -- drawing ---------------------------------------------------------------------------------------

  draw() {
    const width = this.root.clientWidth;
    if (!width || !this.data) return;
    const couple = this.data.couples[this.couple];
    const { epoch, step } = this.data.checkpoints[this.at];
    [...this.strip.children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === this.couple)));
    this.slider.value = String(this.at);
    this.when.textContent = `epoch ${epoch} · step ${step.toLocaleString("en")}`;
    this.stage.draw(couple, this.at, this.showOwn, width);
    this.trend.draw(couple, this.data.checkpoints, this.at, Math.min(width, 760));
    const found = couple.found[this.at];
    const shared = found.filter((pair) => couple.own.some((own) => samePair(pair, own))).length;
    this.keys.replaceChildren(
      ...found.map((pair, n) => {
        const key = el("b", { text: pair.similarity.toFixed(3) });
        key.style.setProperty("--c", COLORS[n % COLORS.length]);
        return key;
      }),
    );
    this.text.textContent = `Of the ${plural(found.length, "pair")} found at this checkpoint, ${shared || "none"} ${
      shared === 1 ? "is" : "are"
    } also among the set's ${couple.own.length}.`;
  }
}

export default entry(".probes", Probes);
