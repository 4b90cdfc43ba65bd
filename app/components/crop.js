// @ts-check
// Pictures of RoIs: crops that the server makes, or, where there is no server, a part of a picture of the photo. Such a
// URL ends in #crop=x,y,w,h,W,H: the box, and the size of the photo that it is measured in.

import { el, noPicture, picture, svg } from "./dom.js";

/** @import { Props } from "./dom.js" */

const PART = /#crop=(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)$/;

/**
 * Returns the picture of a RoI, as a square like those of the encoder. If it cannot be loaded, something else replaces it.
 * @param {string} src
 * @param {Props} props of an <img>
 * @param {() => Node} [instead]
 * @returns {Element}
 */
export function cropPicture(src, props, instead = () => noPicture()) {
  const part = PART.exec(src);
  if (!part) return picture(src, props, instead);
  const [x, y, w, h, width, height] = part.slice(1).map(Number);
  const named = props.alt ? { role: "img", "aria-label": props.alt } : { "aria-hidden": "true" };
  const image = svg("image", { width, height, preserveAspectRatio: "none" });
  const frame = { class: "part", viewBox: `${x} ${y} ${w} ${h}`, preserveAspectRatio: "none" };
  const node = el("span", { class: "part" }, svg("svg", { ...frame, ...named }, image));
  image.onerror = () => node.replaceWith(instead());
  image.setAttribute("href", src.replace(PART, ""));
  return node;
}
