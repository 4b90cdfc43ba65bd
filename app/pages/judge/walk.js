// @ts-check
// The way of a person through a sample: which pair is on screen, what was said, and what can be undone.

import { VERDICTS } from "../../components/verdicts.js";

/** @import { Judgement } from "../../components/verdicts.js" */

const LETTER = new Map(VERDICTS.map(({ name, key }) => [name, key]));
const NAME = new Map(VERDICTS.map(({ name, key }) => [key, name]));

export class Walk {
  /**
   * @param {string} verdicts a letter for each pair: the key of its verdict, or a dot
   * @param {number} start
   * @param {boolean} again whether judged pairs are shown too
   */
  constructor(verdicts, start, again) {
    this.verdicts = [...verdicts];
    this.at = Math.min(start, Math.max(0, this.verdicts.length - 1));
    this.again = again;
    /** @type {{ at: number, before: Judgement | null }[]} */
    this.done = []; // what can be undone, the last one last
  }

  get total() {
    return this.verdicts.length;
  }

  get judged() {
    return this.verdicts.filter((letter) => letter !== ".").length;
  }

  /** Whether nothing is left to be judged. */
  get over() {
    return this.total > 0 && this.judged === this.total;
  }

  /** @param {number} at */
  verdict(at) {
    return NAME.get(this.verdicts[at]) ?? null;
  }

  /**
   * @param {number} at
   * @param {Judgement | null} verdict
   */
  set(at, verdict) {
    this.verdicts[at] = LETTER.get(verdict) ?? ".";
  }

  /**
   * Judges the pair on screen and goes on. The verdict that it has already stays.
   * @param {Judgement} verdict
   * @returns {number} the place of the pair
   */
  judge(verdict) {
    const { at } = this;
    this.done.push({ at, before: this.verdict(at) });
    this.set(at, verdict);
    this.skip();
    return at;
  }

  /**
   * Takes the last verdict back and returns to its pair.
   * @returns {{ at: number, before: Judgement | null } | null} what it was before
   */
  undo() {
    const last = this.done.pop() ?? null;
    if (last) {
      this.set(last.at, last.before);
      this.at = last.at;
    }
    return last;
  }

  /** Goes to the next pair to be judged: after the last one, to the first that was skipped. */
  skip() {
    this.at = this.following(this.at);
  }

  /** @param {number} by 1 or -1 */
  step(by) {
    this.at = Math.min(Math.max(0, this.at + by), this.total - 1);
  }

  /**
   * Returns the next place to be judged, or the same one if there is no other.
   * @param {number} at
   */
  following(at) {
    if (this.again) return Math.min(at + 1, this.total - 1);
    for (let step = 1; step < this.total; step += 1) {
      const place = (at + step) % this.total;
      if (this.verdicts[place] === ".") return place;
    }
    return at;
  }

  /**
   * Returns the places that are shown next, for pictures that are loaded ahead.
   * @param {number} count
   */
  ahead(count) {
    const places = [this.at];
    while (places.length <= count) {
      const next = this.following(places.at(-1));
      if (places.includes(next)) break;
      places.push(next);
    }
    return places.slice(1);
  }
}
