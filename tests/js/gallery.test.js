// The gallery's photos under the mouse.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Gallery } from "../../app/pages/explore/gallery.js";

test("Ctrl or Cmd selects a photo only where photos can be selected", () => {
  globalThis.document = { createElement: () => ({ setAttribute() {}, append() {} }) };
  const done = [];
  const gallery = Object.create(Gallery.prototype);
  gallery.send = (what, id) => done.push([what, id]);
  gallery.choose = (id) => done.push(["choose", id]);
  const tile = gallery.tile({ id: 7, name: "a", badges: [], thumb: "" }, null);
  for (const canMark of [true, false]) {
    gallery.canMark = canMark;
    for (const keys of [{ ctrlKey: true }, { metaKey: true }, {}]) tile.onclick(keys);
  }
  const [choose, open] = ["choose", "open"].map((what) => [what, 7]);
  assert.deepEqual(done, [choose, choose, open, open, open, open]);
});
