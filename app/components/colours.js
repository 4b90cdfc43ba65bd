// @ts-check
// The colours of drawings: those of Okabe and Ito, which colour-blind people can distinguish, and two of Tol's.

export const BLUE = "#0072B2";
export const SKY = "#56B4E9";
export const GREEN = "#009E73";
export const YELLOW = "#F0E442";
export const ORANGE = "#E69F00";
export const VERMILION = "#D55E00";
export const PURPLE = "#CC79A7";
export const GREY = "#999999";
const WINE = "#AA3377";
const PEAR = "#BBCC33";

// Over photos, light colours get a dark halo and dark ones a light halo, so that lines are visible on any photo.
export const DARK = "rgb(0 0 0 / 72%)";
const LIGHT = "rgb(255 255 255 / 88%)";
const PALE = new Set([ORANGE, SKY, PURPLE, YELLOW, PEAR]);

/** @param {string} color */
export const haloed = (color) => ({ color, halo: PALE.has(color) ? DARK : LIGHT });

/**
 * Returns the colour of text on a colour with this halo.
 * @param {string} halo
 */
export const wordsOn = (halo) => (halo === DARK ? "#111" : "#fff");

// Colours of pairs, the most similar first.
export const PAIRS = [ORANGE, SKY, PURPLE, GREEN, YELLOW, VERMILION, BLUE, WINE, PEAR].map(haloed);

export const VIRIDIS = [
  ...["#440154", "#482878", "#3e4a89", "#31688e", "#26828e"],
  ...["#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"],
];

/**
 * @param {string} hex such as "#0072B2"
 * @returns {number[]} red, green and blue, from 0 to 255
 */
export const rgb = (hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));

/**
 * Returns the colour at a position of a scale.
 * @param {string[]} stops evenly spaced
 * @param {number} share from 0 to 1
 */
export function alongScale(stops, share) {
  const at = share * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  const [from, to] = [rgb(stops[low]), rgb(stops[low + 1])];
  return from.map((value, i) => Math.round(value + (to[i] - value) * (at - low)));
}

// viridis in 256 levels.
export const VIRIDIS_LEVELS = Array.from({ length: 256 }, (_, level) => alongScale(VIRIDIS, level / 255));

/**
 * Returns a scale from left to right for a style sheet.
 * @param {string[]} stops
 */
export const gradient = (stops) => `linear-gradient(90deg, ${stops.join(", ")})`;
