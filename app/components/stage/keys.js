// @ts-check
// Keyboard shortcuts. One view of a page has them at a time, and never while somebody types.

const THROTTLE = 140; // ms between repeats of a held arrow key; faster triggers would be lost

const TYPING = "input, textarea, select, [role=textbox], [role=combobox]";
const ARROW_ROLES = new Set(["slider", "listbox", "menu", "tablist", "radiogroup", "grid", "tree"]);

/**
 * A view with keyboard shortcuts.
 * @typedef {object} Keyed
 * @property {HTMLElement} root
 * @property {unknown} data
 * @property {(key: string) => (() => unknown) | null | undefined} actionOf
 */

/** @type {Set<Keys>} */
const mounted = new Set();
/** @type {Keys | null} */
let keysGoTo = null; // of several views on a page, the one used last

// Calls what view.actionOf(key) returns. Holding H hides everything except the photos.
export class Keys {
  /** @param {Keyed} view */
  constructor(view) {
    this.view = view;
    this.root = view.root;
    this.root.onpointerenter = () => (keysGoTo = this);
    this.root.addEventListener("focusin", () => (keysGoTo = this));
    this.lastArrow = 0; // time of the last arrow key
    this.keyDown = this.keyDown.bind(this);
    this.keyUp = this.keyUp.bind(this);
    // Capture keys, so that they do not trigger Streamlit's own shortcuts (R would rerun the page).
    document.addEventListener("keydown", this.keyDown, true);
    document.addEventListener("keyup", this.keyUp, true);
    mounted.add(this);
  }

  destroy() {
    document.removeEventListener("keydown", this.keyDown, true);
    document.removeEventListener("keyup", this.keyUp, true);
    mounted.delete(this);
    if (keysGoTo === this) keysGoTo = null;
  }

  ours() {
    if (!this.root.getClientRects().length) return false; // in a tab that is not shown
    return keysGoTo ? keysGoTo === this : [...mounted].find((keys) => keys.root.getClientRects().length) === this;
  }

  /**
   * Returns whether a key belongs to a widget or dialog of Streamlit. event.composedPath sees into shadow roots.
   * @param {KeyboardEvent} event
   */
  takenByOthers(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
    const arrow = event.key.startsWith("Arrow");
    const host = /** @type {ShadowRoot} */ (this.root.getRootNode()).host ?? this.root;
    return event.composedPath().some((node) => {
      if (!(node instanceof Element)) return false;
      if (node.matches(TYPING) || /** @type {HTMLElement} */ (node).isContentEditable) return true;
      if (node.matches(".cells")) return arrow || event.key === "Enter" || event.key === " ";
      if (node.getAttribute("role") === "dialog") return !this.root.contains(node) && !node.contains(host);
      return arrow && ARROW_ROLES.has(node.getAttribute("role"));
    });
  }

  /** @param {KeyboardEvent} event */
  keyDown(event) {
    if (!this.view.data || !this.ours() || this.takenByOthers(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = key === "h" ? () => this.root.classList.add("peek") : this.view.actionOf(key);
    if (!action) return;
    const arrow = key.startsWith("Arrow");
    if (arrow) event.preventDefault(); // the page must not scroll
    event.stopPropagation();
    if (event.repeat && (!arrow || event.timeStamp - this.lastArrow < THROTTLE)) return;
    if (arrow) this.lastArrow = event.timeStamp;
    action();
  }

  /** @param {KeyboardEvent} event */
  keyUp(event) {
    if (event.key === "h" || event.key === "H") this.root.classList.remove("peek");
  }
}
