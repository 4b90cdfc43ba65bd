// @ts-check
// The probes: selection of photos and checkpoint, and playback.

import { lastingLink } from "../../components/address.js";
import { el } from "../../components/dom.js";
import { entry, numbered } from "../../components/entry.js";
import { clamp } from "../../components/numbers.js";
import { SaveMenu } from "../../components/save.js";
import { asShown } from "../../components/shown.js";
import { plural } from "../../components/words.js";
import { colourOf, ProbeCurve, ProbeStage } from "./probe_stage.js";
import { placeAmong, shared } from "./probes.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { ProbePhoto, ProbesPayload } from "./probe_view_types.js" */

const PACE = 700; // ms for each checkpoint
const REST = 350; // ms without a change before a trigger is sent

class Probes {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    /** @type {ProbesPayload | null} */
    this.data = null;
    this.drawnStrip = ""; // the data, as text
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

  /** @param {ProbesPayload} data */
  setData(data) {
    if (!data || data === this.data) return;
    const before = this.data;
    const following = before && this.at === before.checkpoints.length - 1;
    const step = before?.checkpoints[this.at].step ?? data.step;
    this.data = data;
    if (!before) this.couple = clamp(data.couple, 0, data.couples.length - 1);
    this.couple = Math.min(this.couple, data.couples.length - 1);
    const last = data.checkpoints.length - 1;
    this.at = placeAmong(
      data.checkpoints.map((checkpoint) => checkpoint.step),
      step,
      following,
    );
    this.slider.max = String(last);
    this.slider.disabled = this.play.disabled = last === 0;
    this.ownText.textContent = `pairs of the set ${data.own}`;
    this.drawStrip();
    this.draw();
  }

  drawStrip() {
    const drawn = JSON.stringify(this.data.couples.map(({ query, neighbor }) => [query.thumb, neighbor.thumb]));
    if (this.drawnStrip === drawn) return; // keeps the focus
    this.drawnStrip = drawn;
    /** @param {ProbePhoto} photo */
    const thumb = (photo) => el("img", { src: photo.thumb, alt: photo.name, decoding: "async" });
    /** @param {number} i */
    const choose = (i) => {
      this.couple = i;
      this.draw();
      this.tell();
    };
    this.strip.replaceChildren(
      ...this.data.couples.map(({ query, neighbor }, i) =>
        el("button", { type: "button", onclick: () => choose(i) }, thumb(query), thumb(neighbor)),
      ),
    );
  }

  // -- time ------------------------------------------------------------------------------------------

  /** @param {number} at index of a checkpoint */
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

  // The server writes the position to the URL; it needs no trigger while a slider moves.
  tell() {
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      const { step } = this.data.checkpoints[this.at];
      this.send("look", numbered({ couple: this.couple, step }));
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
    const both = shared(found, couple.own);
    this.keys.replaceChildren(
      ...found.map((pair, n) => {
        const key = el("b", { text: pair.similarity.toFixed(3) });
        key.style.setProperty("--c", colourOf(n));
        return key;
      }),
    );
    this.text.textContent = `Of the ${plural(found.length, "pair")} found at this checkpoint, ${both || "none"} ${
      both === 1 ? "is" : "are"
    } also among the set's ${couple.own.length}.`;
  }
}

export default entry(".probes", Probes);
