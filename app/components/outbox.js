// @ts-check
// Verdicts and tags that the server has not acknowledged yet. A trigger can be lost while a page reruns. So each
// trigger carries all of them, and is repeated until its number is acknowledged. Repetition does no harm.

/** @import { Judgement } from "./verdicts.js" */

/**
 * @typedef {{ id: string, tag: string, on: boolean }} Tagged
 * @typedef {{ n: number, verdicts: Record<string, Judgement | null>, tags: ({ n: number } & Tagged)[] }} Said
 */

const PATIENCE = 3000; // ms
const ATTEMPTS = 5;

export class Outbox {
  /** @param {(said: Said) => void} send */
  constructor(send) {
    this.send = send;
    /** @type {Map<string, { n: number, verdict: Judgement | null }>} */
    this.verdicts = new Map(); // by id
    /** @type {Map<string, { n: number } & Tagged>} */
    this.tags = new Map(); // by id and tag
    this.n = 0;
    this.left = 0; // attempts
  }

  /**
   * @param {string} id
   * @param {Judgement | null} verdict
   */
  judge(id, verdict) {
    this.verdicts.set(id, { n: this.number(), verdict });
    this.say();
  }

  /** @param {Tagged} tagged */
  tag(tagged) {
    this.tags.set(`${tagged.id} ${tagged.tag}`, { n: this.number(), ...tagged });
    this.say();
  }

  /**
   * Drops everything up to an acknowledged number.
   * @param {number} upTo
   */
  answered(upTo) {
    for (const outstanding of [this.verdicts, this.tags]) {
      for (const [key, { n }] of outstanding) if (n <= upTo) outstanding.delete(key);
    }
    if (!this.outstanding()) this.stop();
  }

  stop() {
    clearTimeout(this.timer);
  }

  outstanding() {
    return this.verdicts.size + this.tags.size;
  }

  // Increases even over reloads of the page.
  number() {
    this.n = Math.max(this.n + 1, Date.now());
    return this.n;
  }

  say() {
    this.left = ATTEMPTS;
    this.post();
  }

  post() {
    this.stop();
    if (!this.outstanding() || this.left === 0) return;
    const verdicts = Object.fromEntries([...this.verdicts].map(([id, { verdict }]) => [id, verdict]));
    this.send({ n: this.n, verdicts, tags: [...this.tags.values()] });
    this.left -= 1;
    this.timer = setTimeout(() => this.post(), PATIENCE);
  }
}
