// @ts-check
// One pair at a time: G, X and I judge it and show the next, S skips it, U undoes, arrows go back and on.

import { el, icon, noPicture, picture } from "../../components/dom.js";
import { entry, numbered } from "../../components/entry.js";
import { Outbox } from "../../components/outbox.js";
import { Keys } from "../../components/stage/keys.js";
import { VERDICTS } from "../../components/verdicts.js";
import { plural } from "../../components/words.js";
import { Walk } from "./walk.js";

/** @import { Send } from "../../components/entry.js" */
/** @import { IconName } from "../../components/dom.js" */
/** @import { Judgement } from "../../components/verdicts.js" */
/** @import { JudgedSide, JudgePayload, PairToJudge } from "./component_types.js" */

const AHEAD = 4; // pairs whose pictures are loaded before they are shown
/** @type {Partial<Record<JudgedSide["lost"], string>>} */
const LOST = { gone: "photo is gone", unreadable: "photo cannot be read" };

export class JudgeView {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Send} */
    this.send = null; // Streamlit gives it
    /** @type {JudgePayload | null} */
    this.data = null;
    this.walk = new Walk("", 0, false);
    /** @type {Map<number, PairToJudge>} */
    this.pairs = new Map(); // by place
    /** @type {Map<string, HTMLImageElement>} */
    this.loaded = new Map(); // by address
    this.drawn = "";
    this.outbox = new Outbox((said) => this.send("mark", { ...said, at: this.walk.at }));
    this.meter = el("progress", { "aria-label": "Judged pairs" });
    this.count = el("span", { class: "count" });
    this.here = el("span", { class: "here", "aria-live": "polite" });
    this.sides = el("div", { class: "sides" });
    this.bar = el("div", { class: "bar", role: "toolbar", "aria-label": "Verdict" });
    this.said = el("p", { class: "said", role: "status" });
    const head = el("div", { class: "judge-head" }, this.count, this.meter, this.here);
    root.replaceChildren(head, this.sides, this.bar, this.said);
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", "Pair to judge");
    this.keys = new Keys(this);
  }

  destroy() {
    this.outbox.stop();
    this.keys.destroy();
  }

  /** @param {JudgePayload | null} data */
  setData(data) {
    if (!data) return;
    this.outbox.answered(data.answered);
    if (this.data?.sample !== data.sample) {
      this.walk = new Walk(data.verdicts, data.start, data.again);
      this.pairs.clear();
      this.said.textContent = "";
      this.drawn = "";
    }
    this.walk.again = data.again;
    this.walk.verdicts = [...data.verdicts];
    for (const pair of data.pairs) this.pairs.set(pair.at, pair);
    for (const pair of this.pairs.values()) {
      const waiting = this.outbox.verdicts.get(pair.id);
      if (waiting) this.walk.set(pair.at, waiting.verdict);
    }
    this.data = data;
    this.draw();
  }

  // -- actions ---------------------------------------------------------------------------------------

  /** @param {Judgement} verdict */
  judge(verdict) {
    const { walk } = this;
    const pair = this.pairs.get(walk.at);
    if (!pair) return; // not here yet
    const place = walk.judge(verdict);
    this.outbox.judge(pair.id, verdict);
    this.tell(`Pair ${place + 1}: ${verdict}.`);
  }

  undo() {
    const last = this.walk.undo();
    const pair = last && this.pairs.get(last.at);
    if (!pair) return this.tell("Nothing to undo.");
    this.outbox.judge(pair.id, last.before);
    return this.tell(`Pair ${last.at + 1}: ${last.before ?? "no verdict"} again.`);
  }

  skip() {
    const { at } = this.walk;
    this.walk.skip();
    this.tell(this.walk.at === at ? "There is no other pair to judge." : `Skipped pair ${at + 1}.`);
  }

  /** @param {number} by */
  step(by) {
    const { at } = this.walk;
    this.walk.step(by);
    const end = by < 0 ? "This is the first pair." : "This is the last pair.";
    this.tell(this.walk.at === at ? end : "");
  }

  /** @param {string} key */
  actionOf(key) {
    const verdict = VERDICTS.find((each) => each.key === key)?.name;
    if (verdict) return this.data.can_judge ? () => this.judge(verdict) : null;
    return {
      s: () => this.skip(),
      u: this.data.can_judge ? () => this.undo() : null,
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
    }[key];
  }

  /** @param {string} text */
  tell(text) {
    const { walk } = this;
    this.said.textContent = text;
    this.draw();
    const wanted = [walk.at, ...walk.ahead(AHEAD)];
    if (!wanted.every((at) => this.pairs.has(at))) this.send("look", numbered({ at: walk.at }));
  }

  // -- drawing ---------------------------------------------------------------------------------------

  draw() {
    const { walk } = this;
    this.count.textContent = `${walk.judged} of ${walk.total} judged`;
    this.meter.max = walk.total;
    this.meter.value = walk.judged;
    this.here.textContent = walk.over ? `all ${plural(walk.total, "pair")} judged: see Results` : `pair ${walk.at + 1}`;
    const pair = this.pairs.get(walk.at);
    const drawn = JSON.stringify([walk.at, pair?.id, walk.verdict(walk.at), this.data.can_judge, walk.over]);
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.drawPair(pair);
      this.drawBar();
    }
    this.loadAhead();
  }

  /** @param {PairToJudge | undefined} pair */
  drawPair(pair) {
    if (!pair) return this.sides.replaceChildren(el("p", { class: "wait", text: "Loading the pair …" }));
    if (this.sides.dataset.id === pair.id && this.sides.querySelector(".side")) return undefined;
    this.sides.dataset.id = pair.id;
    return this.sides.replaceChildren(this.side("Query", pair.query), this.side("Key", pair.key));
  }

  /**
   * @param {string} word
   * @param {JudgedSide} side
   */
  side(word, { name, url, width, height, box, crop, lost }) {
    const file = name.split("/").at(-1);
    const instead = () => noPicture(LOST[lost] ?? "no picture");
    const outline = el("span", { class: "box" });
    const [x, y, w, h] = box;
    outline.style.left = `${(100 * x) / width}%`;
    outline.style.top = `${(100 * y) / height}%`;
    outline.style.width = `${(100 * w) / width}%`;
    outline.style.height = `${(100 * h) / height}%`;
    const frame = el("div", { class: "frame" }, picture(url, { alt: `${word} photo ${file}` }, instead), outline);
    frame.style.setProperty("--ratio", `${width / height}`);
    const close = el("div", { class: "crop" }, picture(crop, { alt: `${word} RoI of ${file}` }, instead));
    const changed = lost === "changed" && el("span", { class: "since", text: "photo has changed" });
    const caption = el("figcaption", {}, el("b", { text: word }), ` ${file}`, changed);
    return el("figure", { class: "side" }, caption, frame, close);
  }

  drawBar() {
    const { walk } = this;
    const now = walk.verdict(walk.at);
    const { activeElement } = /** @type {ShadowRoot} */ (this.root.getRootNode());
    const focused = /** @type {HTMLElement | null} */ (activeElement)?.dataset.does;
    /** @type {(does: string, key: string, word: string, act: () => void, name?: IconName) => HTMLElement} */
    const button = (does, key, word, act, name) =>
      el(
        "button",
        {
          type: "button",
          class: `act ${does}`,
          "data-does": does,
          "aria-keyshortcuts": key,
          "aria-pressed": name ? String(now === name) : null,
          onclick: act,
        },
        name && icon(name),
        el("span", { text: word }),
        el("kbd", { "aria-hidden": "true", text: key.replace("ArrowLeft", "←").replace("ArrowRight", "→") }),
      );
    const verdicts = VERDICTS.map(({ name, word, key }) =>
      button(name, key.toUpperCase(), word, () => this.judge(name), name),
    );
    const buttons = [
      button("back", "ArrowLeft", "Back", () => this.step(-1)),
      ...(this.data.can_judge ? verdicts : []),
      button("skip", "S", "Skip", () => this.skip()),
      ...(this.data.can_judge ? [button("undo", "U", "Undo", () => this.undo())] : []),
      button("next", "ArrowRight", "Next", () => this.step(1)),
    ];
    this.bar.replaceChildren(...buttons);
    /** @type {HTMLElement | null} */ (this.bar.querySelector(`[data-does="${focused}"]`))?.focus();
  }

  loadAhead() {
    const wanted = this.walk.ahead(AHEAD).flatMap((at) => {
      const pair = this.pairs.get(at);
      return pair ? [pair.query.url, pair.key.url, pair.query.crop, pair.key.crop] : [];
    });
    for (const url of this.loaded.keys()) if (!wanted.includes(url)) this.loaded.delete(url);
    for (const url of wanted) {
      if (this.loaded.has(url)) continue;
      const image = new Image();
      image.src = url;
      this.loaded.set(url, image);
    }
  }
}

export default entry(".judge", JudgeView);
