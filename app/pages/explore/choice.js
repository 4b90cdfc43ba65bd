// @ts-check
// The selected photos, across pages.

export class Choice {
  constructor() {
    /** @type {Set<number>} */
    this.ids = new Set();
    /** @type {number | null} */
    this.last = null; // photo that was selected or deselected last
  }

  /**
   * Selects or deselects a photo.
   * @param {number} id
   */
  flip(id) {
    if (!this.ids.delete(id)) this.ids.add(id);
    this.last = id;
  }

  /**
   * Selects all from the last one to this one, or only this one if the last is not shown.
   * @param {number} id
   * @param {number[]} shown in their order
   */
  upTo(id, shown) {
    const [from, to] = [shown.indexOf(this.last), shown.indexOf(id)];
    if (from < 0 || to < 0) return this.flip(id);
    this.add(shown.slice(Math.min(from, to), Math.max(from, to) + 1));
    this.last = id;
    return undefined;
  }

  /** @param {number[]} ids */
  add(ids) {
    for (const id of ids) this.ids.add(id);
  }

  clear() {
    this.ids.clear();
    this.last = null;
  }
}
