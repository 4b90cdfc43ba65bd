// @ts-check
// A view that only draws: Python says all that there is to say of it.

import { lastingLink } from "./address.js";
import { SaveMenu } from "./save.js";
import { asShown } from "./shown.js";

/** @import { Figure } from "./figure_types.js" */

export class Drawn {
  /** @param {HTMLElement} root beside a .head, the place for the menu that saves */
  constructor(root) {
    this.root = root;
    /** @type {HTMLElement} */
    this.head = root.parentNode.querySelector(".head");
    this.head.replaceChildren();
  }

  /**
   * The menu, where there is something to say of the view.
   * @param {Figure | null} figure
   */
  setFigure(figure) {
    this.figure = figure;
    this.head.hidden = !figure;
    if (figure && !this.head.firstChild) this.head.append(new SaveMenu(this).root);
  }

  /** What a figure shows. */
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
