// @ts-check
// The address of what is on screen. It is in the fragment, the only part that every browser lets a file on disk change.

/** @typedef {Record<string, string | number | null>} Parameters */

/** @returns {URLSearchParams} */
export const address = () => new URLSearchParams(location.hash.slice(1));

/**
 * Returns an address; empty parameters are left out.
 * @param {Parameters} parameters
 */
export function addressOf(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== "");
  return `#${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

/**
 * Goes to an address, as a step of the browser's history.
 * @param {Parameters} parameters
 */
export function go(parameters) {
  location.hash = addressOf(parameters);
}

/**
 * Changes parameters without a step of the history, and without drawing anew.
 * @param {Parameters} parameters
 */
export function note(parameters) {
  const now = Object.fromEntries(address());
  const next = addressOf({ ...now, ...parameters });
  if (next !== location.hash) history.replaceState(history.state, "", next);
}

/**
 * Returns a whole number of the address, or another one if it has none.
 * @param {string} name
 * @param {number} otherwise
 */
export function numberIn(name, otherwise) {
  const found = address().get(name);
  return found !== null && /^\d{1,9}$/.test(found) ? Number(found) : otherwise;
}
