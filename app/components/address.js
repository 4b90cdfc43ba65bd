// @ts-check
// Writes display options to the URL without the server, so that a link shows what its sender saw. The server writes
// its own parameters.

import { withParameters } from "./urls.js";

/**
 * inAddress() returns the parameters, "" for defaults; fromAddress() reads them.
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
    // The server cannot remove several parameters in one step of the history: it sets them to "".
    for (const [name, value] of [...url.searchParams]) if (value === "") url.searchParams.delete(name);
    if (url.href !== location.href) history.replaceState(history.state, "", url);
  }
}

/**
 * Returns a permanent link: it also names values that are defaults now, because defaults may change.
 * @param {Record<string, string | string[]>} parameters
 */
export const lastingLink = (parameters) => withParameters(location.href, parameters);
