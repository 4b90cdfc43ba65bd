// @ts-check
// URLs.

/**
 * Fills a template. Numbers are rounded: they are pixels and ids.
 * @param {string} template such as "crop/{image}/{x}-{y}-{w}-{h}"
 * @param {Record<string, number>} values
 */
export const filled = (template, values) =>
  template.replace(/\{(\w+)\}/g, (_, name) => String(Math.round(values[name])));

/**
 * Returns the URL of a RoI's crop, from a template.
 * @param {string} template
 * @param {number} image
 * @param {ArrayLike<number>} box
 * @param {{ width: number, height: number }} [photo] its size, for templates that need it
 */
export const cropUrl = (template, image, box, photo = { width: 1, height: 1 }) =>
  filled(template, { image, x: box[0], y: box[1], w: box[2], h: box[3], W: photo.width, H: photo.height });

/**
 * Returns the server's response, or null if there is none.
 * @param {string} url
 * @returns {Promise<Response | null>}
 */
export const answerTo = (url) => fetch(url).catch(() => /** @type {Response} */ (null));

/**
 * Returns a URL with some parameters replaced. Empty ones are removed.
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
