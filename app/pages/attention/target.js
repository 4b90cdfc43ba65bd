// @ts-check
// Target of the cosine maps: "image-x-y" for a point, "image-x-y-w-h" for a RoI. Without a target, the map is the
// activation norm for "" and the attention of the class token for "class".

export const CLASS_TOKEN = "class";

/**
 * @param {string} to
 * @returns {{ image: number, x: number, y: number, width?: number, height?: number } | null}
 */
export function targetOf(to) {
  if (!to || to === CLASS_TOKEN) return null;
  const [image, x, y, width, height] = to.split("-").map(Number);
  return { image, x, y, width, height };
}

/**
 * Returns the URL of a photo's map by an encoder, under these display options.
 * @param {string} template
 * @param {number} encoder
 * @param {number} image
 * @param {{ to: string, cells: boolean, own: boolean }} look
 */
export function mapUrl(template, encoder, image, { to, cells, own }) {
  const url = template.replace("{encoder}", String(encoder)).replace("{image}", String(image));
  const target = targetOf(to);
  const asked = [
    to === CLASS_TOKEN && "class=1",
    target && `${target.width ? "roi" : "point"}=${to}`,
    cells && "cells=1",
    target && own && "own=1",
  ].filter(Boolean);
  return asked.length ? `${url}?${asked.join("&")}` : url;
}
