// @ts-check
// Notifications of the browser when a run ends. The choice is kept in this browser. A tab in the background also
// says in its title that a run ended, for browsers that show no notifications.

import { el, icon } from "./dom.js";
import { entry } from "./entry.js";

/** @import { BellPayload, EndedRun } from "./notify_types.js" */

const WANTED = "orl-notify";
const TOLD = "orl-told"; // ids of runs that this tab has told of

/**
 * Returns the runs to tell of, and the ids to keep.
 * @param {EndedRun[]} ended
 * @param {number[]} told
 */
export function news(ended, told) {
  const fresh = ended.filter((run) => !told.includes(run.id));
  return { fresh, told: [...told, ...fresh.map((run) => run.id)].slice(-50) };
}

/**
 * Returns what the button says, and whether it can be pressed.
 * @param {string} permission of the browser; "missing" if it has no notifications or this address may not use them
 * @param {boolean} wanted
 */
export function offer(permission, wanted) {
  if (permission === "missing") return { text: "The browser shows notifications only over HTTPS.", can: false };
  if (permission === "denied") return { text: "Notifications are blocked in the browser's settings.", can: false };
  if (wanted && permission === "granted") return { text: "You will be told when a run ends", can: true };
  return { text: "Tell me when a run ends", can: true };
}

const permission = () => ("Notification" in window && window.isSecureContext ? Notification.permission : "missing");

class Bell {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.live = 0;
    /** @type {string | undefined} */
    this.title = undefined; // of the page, while another one stands in its place
    this.onVisible = () => this.restoreTitle();
    document.addEventListener("visibilitychange", this.onVisible);
  }

  /** @param {BellPayload} data */
  setData(data) {
    this.live = data.live;
    const { fresh, told } = news(data.ended, JSON.parse(sessionStorage.getItem(TOLD) ?? "[]"));
    sessionStorage.setItem(TOLD, JSON.stringify(told));
    for (const run of fresh) this.tell(run);
    this.draw();
  }

  draw() {
    if (!this.live) {
      this.root.replaceChildren();
      return;
    }
    const { text, can } = offer(permission(), this.wanted);
    const pressed = String(this.wanted && permission() === "granted");
    const shown = can
      ? el(
          "button",
          { type: "button", "aria-pressed": pressed, onclick: () => this.toggle() },
          icon("bell"),
          el("span", { text }),
        )
      : el("p", { text });
    if (this.root.textContent !== text) this.root.replaceChildren(shown); // else a press could miss the button
  }

  get wanted() {
    return localStorage.getItem(WANTED) === "on";
  }

  async toggle() {
    const on = !(this.wanted && permission() === "granted");
    if (on && permission() === "default") await Notification.requestPermission();
    localStorage.setItem(WANTED, on ? "on" : "off");
    this.draw();
  }

  /** @param {EndedRun} run */
  tell(run) {
    if (document.hidden && this.title === undefined) {
      this.title = document.title;
      document.title = `● ${run.said}`;
    }
    if (!this.wanted || permission() !== "granted") return;
    const shown = new Notification("ORL Explorer", { body: run.said, tag: `orl-run-${run.id}` });
    shown.onclick = () => window.focus();
  }

  restoreTitle() {
    if (document.hidden || this.title === undefined) return;
    document.title = this.title;
    this.title = undefined;
  }

  destroy() {
    document.removeEventListener("visibilitychange", this.onVisible);
  }
}

export default entry(".bell", Bell);
