// @ts-check
// What a saved figure says of the pair view.

/**
 * @param {string[]} facts that the server knows
 * @param {{ shown: number, pairs: number, threshold: number | null, attention: string }} looking attention: what the
 * heat maps show, "" without them
 */
export function captionOf(facts, { shown, pairs, threshold, attention }) {
  const least = threshold === null ? "" : `, similarity at least ${threshold.toFixed(3)}`;
  return [...facts, `Pairs shown: ${shown} of ${pairs}${least}.`, ...(attention ? [`Attention: ${attention}.`] : [])];
}
