// @ts-check
// The data of the folder: scripts that each leave one value in `orlData`.

import { el } from "../components/dom.js";

/** @import { SharedAbout } from "./about_types.js" */
/** @import { SharedMatches, SharedPhoto, SharedRows } from "./rows_types.js" */

/** @type {Map<string, Promise<any>>} */
const asked = new Map();

/**
 * Returns the value of a script. It is loaded once.
 * @param {string} name
 * @returns {Promise<any>}
 */
function valueOf(name) {
  if (!asked.has(name)) {
    const value = new Promise((resolve, reject) => {
      const script = el("script", { src: `data/${name}.js` });
      script.onload = () => resolve(/** @type {any} */ (globalThis).orlData[name]);
      script.onerror = () => reject(new Error(`The file data/${name}.js of this folder is missing.`));
      document.head.append(script);
    });
    asked.set(name, value);
  }
  return asked.get(name);
}

/**
 * Unpacks little-endian numbers from base64.
 * @param {string} packed
 */
function bytesOf(packed) {
  const text = atob(packed);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

export class Shared {
  /**
   * @param {SharedAbout} about
   * @param {SharedPhoto[]} photos by number: those to look at, then other neighbours
   */
  constructor(about, photos) {
    this.about = about;
    this.photos = photos;
    this.styles = /** @type {any} */ (globalThis).orlStyles; // of the components, by page
    this.order = Array.from({ length: about.queries }, (_, at) => at); // of the gallery and its keys
  }

  static async open() {
    return new Shared(await valueOf("about"), await valueOf("index"));
  }

  /**
   * Returns the RoIs, neighbours and pairs of a photo.
   * @param {number} at
   * @returns {Promise<SharedRows>}
   */
  async rows(at) {
    const { chunk } = this.about;
    return (await valueOf(`rows-${Math.floor(at / chunk)}`))[at % chunk];
  }

  /** Returns all pairs as columns. */
  async matches() {
    /** @type {SharedMatches} */
    const { count, photo, place, similarity, margin, cycle } = await valueOf("matches");
    return {
      count,
      photo: new Uint32Array(bytesOf(photo)),
      place: new Uint16Array(bytesOf(place)),
      similarity: new Float32Array(bytesOf(similarity)),
      margin: new Float32Array(bytesOf(margin)),
      cycle: new Float32Array(bytesOf(cycle)),
    };
  }

  /** @param {number} at */
  small(at) {
    return `pictures/small/${at}.jpg`;
  }

  /** @param {number} at */
  large(at) {
    return this.about.full ? `pictures/full/${at}.jpg` : this.small(at);
  }

  /** @param {number} at */
  name(at) {
    return this.photos[at].name;
  }

  /** @param {number} at */
  fileName(at) {
    return this.name(at).split("/").at(-1);
  }
}

/**
 * Returns the box of a RoI.
 * @param {SharedRows} rows
 * @param {number} index
 */
export const boxOf = (rows, index) => rows.rois.slice(4 * index, 4 * index + 4);
