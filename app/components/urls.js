// @ts-check
// Addresses as texts.

/**
 * A template with its braces filled: numbers as whole ones, for they are pixels and ids.
 * @param {string} template such as "crop/{image}/{x}-{y}-{w}-{h}"
 * @param {Record<string, number>} values
 */
export const filled = (template, values) =>
  template.replace(/\{(\w+)\}/g, (_, name) => String(Math.round(values[name])));

/**
 * Of a RoI's crop, by the template that the server gives.
 * @param {string} template
 * @param {number} image
 * @param {ArrayLike<number>} box
 */
export const cropUrl = (template, image, box) =>
  filled(template, { image, x: box[0], y: box[1], w: box[2], h: box[3] });

/**
 * What the server answers; null where nobody does.
 * @param {string} url
 * @returns {Promise<Response | null>}
 */
export const answerTo = (url) => fetch(url).catch(() => /** @type {Response} */ (null));

/**
 * An address with some parameters of its own; what is empty is left out.
 * @param {string} href
 * @param {Record<string, string | string[]>} parameters
 */
export function withParameters(href, parameters) {
  const url = new URL(href);
  for (const [name, value] of Object.entries(parameters)) {
    const [first, ...more] = [value].flat();
    if (first) url.searchParams.set(name, first);
    else url.searchParams.delete(name);
    for (const each of more) url.searchParams.append(name, each);
  }
  return url.href;
}
