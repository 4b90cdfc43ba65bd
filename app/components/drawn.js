// @ts-check
// A view without state of its own: all its data comes from Python.

import { lastingLink } from "./address.js";
import { SaveMenu } from "./save.js";
import { asShown } from "./shown.js";

/** @import { Figure } from "./figure_types.js" */

export class Drawn {
  /** @param {HTMLElement} root beside a .head for the save menu */
  constructor(root) {
    this.root = root;
    /** @type {HTMLElement} */
    this.head = root.parentNode.querySelector(".head");
    this.head.replaceChildren();
  }

  /**
   * Shows the save menu if there is a figure.
   * @param {Figure | null} figure
   */
  setFigure(figure) {
    this.figure = figure;
    this.head.hidden = !figure;
    if (figure && !this.head.firstChild) this.head.append(new SaveMenu(this).root);
  }

  /** Returns the elements of the figure. */
  shown() {
    return /** @type {Element[]} */ ([this.root]);
  }

  destroy() {}

  picture() {
    return asShown(...this.shown());
  }

  captionLines() {
    return this.figure.caption;
  }

  fileName() {
    return this.figure.name;
  }

  link() {
    return lastingLink(this.figure.place);
  }
}
