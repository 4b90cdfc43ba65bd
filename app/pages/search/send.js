// @ts-check
// Sending a picture to the server.

const RAW = "application/octet-stream";

/**
 * Returns the server's name of a picture. Throws an Error with a sentence if it cannot be used.
 * @param {File} file
 * @param {string} url
 * @param {number} most bytes
 */
export async function sent(file, url, most) {
  if (file.size > most) throw new Error(`Cannot search with it: larger than ${most >> 20} MB.`);
  const answer = await fetch(url, { method: "POST", body: file, headers: { "Content-Type": RAW } }).catch(() => {
    throw new Error("The server cannot be reached. Try again.");
  });
  if (!answer.ok) throw new Error(await answer.text());
  return /** @type {string} */ ((await answer.json()).name);
}

/**
 * Returns the first picture of what was dropped or pasted, or a sentence why there is none.
 * @param {DataTransfer} given
 * @returns {File | string}
 */
export function pictureOf(given) {
  const files = [...given.files];
  const picture = files.find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (picture) return picture;
  return [...given.types].includes("text/uri-list")
    ? "The server fetches no addresses. Save the picture, then drop its file."
    : "";
}
