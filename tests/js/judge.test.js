// The way through a sample of pairs, and the keys of the page Judge.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Walk } from "../../app/pages/judge/walk.js";

test("a verdict leads to the next pair that has none", () => {
  const walk = new Walk("..g.", 0, false);
  assert.equal(walk.judge("good"), 0);
  assert.deepEqual([walk.at, walk.judged], [1, 2]);
  walk.judge("wrong");
  assert.deepEqual([walk.at, walk.verdicts.join("")], [3, "gxg."]);
  walk.judge("interesting");
  assert.deepEqual([walk.at, walk.over, walk.verdicts.join("")], [3, true, "gxgi"]);
});

test("skipped pairs come again after the last one", () => {
  const walk = new Walk("...", 0, false);
  walk.skip();
  walk.judge("good");
  walk.judge("good");
  assert.deepEqual([walk.at, walk.over], [0, false]);
  walk.skip(); // there is no other
  assert.equal(walk.at, 0);
});

test("what was done is undone in turn, back to the pair and to what it was", () => {
  const walk = new Walk("x..", 0, true);
  walk.judge("good");
  walk.judge("wrong");
  assert.deepEqual(walk.undo(), { at: 1, before: null });
  assert.deepEqual([walk.at, walk.verdicts.join("")], [1, "g.."]);
  assert.deepEqual(walk.undo(), { at: 0, before: "wrong" });
  assert.equal(walk.verdicts.join(""), "x..");
  assert.equal(walk.undo(), null);
});

test("judged pairs are shown again if asked", () => {
  const walk = new Walk("gx.", 0, true);
  walk.judge("good");
  assert.equal(walk.at, 1);
  assert.equal(walk.verdict(1), "wrong");
});

test("arrows go one by one and stop at the ends", () => {
  const walk = new Walk("g.x", 1, false);
  walk.step(-1);
  walk.step(-1);
  assert.equal(walk.at, 0);
  walk.step(1);
  walk.step(1);
  walk.step(1);
  assert.equal(walk.at, 2);
});

test("pictures are loaded ahead of those pairs that come next", () => {
  assert.deepEqual(new Walk("..g.g.", 0, false).ahead(3), [1, 3, 5]);
  assert.deepEqual(new Walk("..g.g.", 3, false).ahead(4), [5, 0, 1]);
  assert.deepEqual(new Walk("ggg", 0, true).ahead(5), [1, 2]);
  assert.deepEqual(new Walk("", 0, false).ahead(2), []);
  assert.equal(new Walk("", 5, false).at, 0);
});
