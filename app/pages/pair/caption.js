// @ts-check
// The caption of a saved figure of the pair view.

/**
 * @param {string[]} facts from the server
 * @param {{ shown: number, pairs: number, threshold: number | null, attention: string }} looking attention: label of
 * the heat maps, "" without them
 */
export function captionOf(facts, { shown, pairs, threshold, attention }) {
  const least = threshold === null ? "" : `, similarity at least ${threshold.toFixed(3)}`;
  return [...facts, `Pairs shown: ${shown} of ${pairs}${least}.`, ...(attention ? [`Attention: ${attention}.`] : [])];
}
