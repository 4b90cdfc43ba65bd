// @ts-check
// Helpers for texts of views and figures.

/**
 * @param {number | "no"} count
 * @param {string} noun
 */
export const plural = (count, noun) =>
  `${count.toLocaleString("en")} ${noun}${count === 1 || count === "no" ? "" : "s"}`;

/**
 * Wraps a text at spaces into lines of at most so many letters. A longer word has a line of its own.
 * @param {string} text
 * @param {number} most
 */
export function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.length - 1;
    if (lines[last] && lines[last].length + 1 + word.length > most) lines.push(word);
    else lines[last] += (lines[last] && " ") + word;
  }
  return lines;
}

/**
 * Shortens a text to at most so many letters, with an ellipsis.
 * @param {string} text
 * @param {number} length
 */
export const cut = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/**
 * "a/000012.jpg" -> "000012"
 * @param {{ name: string }} photo
 */
export function fileStem({ name }) {
  return name
    .split("/")
    .at(-1)
    .replace(/\.\w+$/, "");
}
