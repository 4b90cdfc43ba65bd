// @ts-check
// Grids with one tab stop. Arrow keys move the focus.

export const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

/**
 * Returns the item that a key moves to. Rows are found by position: the style sheet sets the number of columns.
 * @param {number[]} tops of all items, in pixels
 * @param {number} index of the item that has the focus
 * @param {string} key one of MOVES
 * @returns {number} index; the same one at an edge
 */
export function moved(tops, index, key) {
  const last = tops.length - 1;
  const columns = tops.findIndex((top) => Math.abs(top - tops[0]) > 4);
  const row = columns < 0 ? 0 : columns;
  /** @type {Record<string, number>} */
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row, Home: -index, End: last - index };
  const target = index + steps[key];
  return target < 0 || target > last ? index : target;
}

/**
 * @template {Element} T
 * @param {T[]} items
 * @param {number} index
 * @param {string} key
 */
export const itemAt = (items, index, key) =>
  items[
    moved(
      items.map((item) => item.getBoundingClientRect().top),
      index,
      key,
    )
  ];

/**
 * Sets the tab stop.
 * @param {HTMLElement[]} items
 * @param {HTMLElement} stop
 */
export function settle(items, stop) {
  for (const item of items) item.tabIndex = item === stop ? 0 : -1;
}
