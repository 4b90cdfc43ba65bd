// @ts-check
// What belongs to looking lives in the URL, written here without asking the server, so that a link shows what its
// sender saw; what the server knows of it writes there itself.

import { withParameters } from "./urls.js";

/**
 * inAddress() says each parameter, "" where it is as usual; fromAddress() takes them back.
 * @typedef {{ inAddress(): Record<string, string>, fromAddress(parameters: URLSearchParams): void }} Addressed
 */

const URL_PAUSE = 200; // ms; browsers refuse to rewrite the URL at every move of a slider

export class AddressBar {
  /** @param {Addressed} view */
  constructor(view) {
    this.view = view;
    this.onPopState = () => this.read();
    window.addEventListener("popstate", this.onPopState);
  }

  destroy() {
    window.removeEventListener("popstate", this.onPopState);
    clearTimeout(this.timer);
  }

  read() {
    this.view.fromAddress(new URLSearchParams(location.search));
  }

  write() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.writeNow(), URL_PAUSE);
  }

  writeNow() {
    clearTimeout(this.timer);
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(this.view.inAddress())) url.searchParams.set(name, value);
    // The server cannot take several parameters away in one step of the history: it empties them.
    for (const [name, value] of [...url.searchParams]) if (value === "") url.searchParams.delete(name);
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  }
}

/**
 * The address with what it leaves out as long as that goes without saying, for tomorrow it may not.
 * @param {Record<string, string | string[]>} parameters
 */
export const lastingLink = (parameters) => withParameters(location.href, parameters);
