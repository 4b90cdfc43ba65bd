// Curves, probes and lineage, as numbers and words.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Curves } from "../../app/pages/train/chart.js";
import { captionOf, fromAddress, inAddress } from "../../app/pages/train/chart_look.js";
import { kin, left, sizeFor, top } from "../../app/pages/train/lineage_layout.js";
import { placeAmong, shared } from "../../app/pages/train/probes.js";
import { indexAt, logTicks, numberText, smoothed, ticks, valueRange } from "../../app/pages/train/scales.js";

test("ticks are round numbers", () => {
  assert.deepEqual(ticks(0.5, 10, 5), [2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(3, 97, 4), [50]);
  assert.deepEqual(ticks(-1, 1, 4), [-1, -0.5, 0, 0.5, 1]);
  assert.deepEqual(ticks(2, 2, 1), [2]);
});

test("a logarithmic axis has powers of ten, or round numbers where it has no two of them", () => {
  assert.deepEqual(logTicks(0.5, 200), [1, 10, 100]);
  assert.deepEqual(logTicks(1, 4), [1, 2, 3, 4]);
});

test("numbers are said shortly", () => {
  const said = [0, 1234567, 0.00012, 3.14159, -250].map((value) => numberText(value, ""));
  assert.deepEqual(said, ["0", "1.2e6", "1.2e-4", "3.142", "-250"]);
  assert.equal(numberText(0.12345, "%"), "12.3 %");
});

test("smoothing does not lean towards the first value", () => {
  const values = [4, 2, 6];
  assert.equal(smoothed(values, 0), values);
  assert.deepEqual(
    smoothed([5, 5, 5], 0.9).map((value) => Number(value.toFixed(9))),
    [5, 5, 5],
  );
  assert.deepEqual(smoothed([0, 3], 0.5), [0, 2]);
});

test("the nearest point of a curve", () => {
  const x = [0, 10, 20, 50];
  assert.deepEqual(
    [-5, 4, 6, 34, 36, 99].map((value) => indexAt(x, value)),
    [0, 0, 1, 2, 3, 3],
  );
  assert.equal(indexAt([7], 100), 0);
});

test("an axis holds the values between two x, with some room", () => {
  const lines = [{ at: [0, 1, 2], y: [9, 2, 4], soft: [9, 2, 4] }];
  assert.deepEqual(valueRange(lines, [1, 2], { log: false, unit: "" }), [1.88, 4.12]);
  assert.deepEqual(valueRange(lines, [1, 2], { log: true, unit: "" }), [2 / 1.05, 4.2]);
  assert.deepEqual(valueRange(lines, [5, 6], { log: false, unit: "" }), [0, 1]);
  assert.deepEqual(valueRange(lines, [5, 6], { log: true, unit: "" }), [0.1, 1]);
});

test("an axis of shares begins at nothing and ends at everything at most", () => {
  const axis = { log: false, unit: "%" };
  assert.deepEqual(valueRange([{ at: [0], y: [0.5], soft: [0.5] }], [0, 1], axis), [0, 0.54]);
  assert.deepEqual(valueRange([{ at: [0], y: [0.99], soft: [0.99] }], [0, 1], axis), [0, 1]);
});

test("an axis with a mark reaches from nothing to above it", () => {
  assert.deepEqual(
    valueRange([{ at: [0], y: [1], soft: [1] }], [0, 1], { log: false, unit: "", mark: 1.5 }),
    [0, 2.067],
  );
});

test("a logarithmic axis leaves out what is not above nothing", () => {
  const lines = [{ at: [0, 1], y: [0, 4], soft: [0, 4] }];
  assert.deepEqual(valueRange(lines, [0, 1], { log: true, unit: "" }), [2, 8]);
});

test("a look goes to the URL and comes back", () => {
  const look = {
    smoothing: 0.6,
    byEpoch: true,
    log: true,
    range: [1.5, 20.25],
    hidden: new Set([3, 7]),
  };
  const parameters = { smooth: "0.6", unit: "epoch", scale: "log", span: "1.5-20.25", off: "3.7" };
  assert.deepEqual(inAddress(look), parameters);
  assert.deepEqual(fromAddress(new URLSearchParams(parameters)), look);
});

test("a usual look leaves the URL empty, and nonsense is a usual look", () => {
  const usual = { smoothing: 0, byEpoch: false, log: false, range: null, hidden: new Set() };
  assert.deepEqual(fromAddress(new URLSearchParams()), usual);
  const nonsense = { smooth: "1", unit: "year", scale: "none", span: "9-3", off: "a.b" };
  assert.deepEqual(fromAddress(new URLSearchParams(nonsense)), usual);
  assert.deepEqual(inAddress(usual), { smooth: "", unit: "", scale: "", span: "", off: "" });
});

test("a figure of curves says how they are drawn", () => {
  const usual = fromAddress(new URLSearchParams());
  assert.equal(
    captionOf(usual, { range: [0, 12000], banded: true, off: [] }),
    "Curves: steps 0 to 12,000; bands: minimum to maximum of the steps that a point averages.",
  );
  assert.equal(
    captionOf({ ...usual, smoothing: 0.5, byEpoch: true, log: true }, { range: [0.5, 3], banded: true, off: [4, 5] }),
    "Curves: epochs 0.5 to 3; smoothed by 0.5; logarithmic where possible; hidden: 4, 5.",
  );
});

test("pairs that were found and are the set's own", () => {
  const a = { q: [0, 0, 10, 10], k: [5, 5, 10, 10] };
  const b = { q: [0, 0, 10, 10], k: [6, 5, 10, 10] };
  assert.equal(shared([a, b], [b]), 1);
  assert.equal(shared([a], []), 0);
});

test("whoever looks at the newest checkpoint goes on to the next one", () => {
  assert.equal(placeAmong([10, 20, 30], 20, false), 1);
  assert.equal(placeAmong([10, 20, 30], 20, true), 2);
  assert.equal(placeAmong([10, 20, 30], 15, false), 2);
  assert.equal(placeAmong([10, 20, 30], null, false), 2);
});

test("boxes of a lineage share the room", () => {
  assert.deepEqual(sizeFor(692, 3), { width: 200, layer: 234, title: 22, facts: 27 });
  assert.equal(sizeFor(300, 5).width, 156);
  assert.equal(sizeFor(3000, 2).width, 250);
  assert.equal(left({ layer: 2 }, sizeFor(692, 3)), 480);
  assert.equal(top({ row: 1.5 }), 102);
});

test("kin are what a thing comes from and what came from it", () => {
  const edges = [
    ["photos", "run"],
    ["run", "set"],
    ["photos", "other"],
    ["set", "run"], // a circle ends too
  ];
  assert.deepEqual([...kin("run", edges)].sort(), ["photos", "run", "set"]);
  assert.deepEqual([...kin("other", edges)].sort(), ["other", "photos"]);
});

test("a zoom holds in the unit that it was chosen in", () => {
  const curves = Object.create(Curves.prototype);
  const of = (/** @type {number | null} */ per_epoch) => ({
    runs: [{ id: 1, per_epoch }],
    panels: [{ lines: [{ run: 1, x: [0, 300] }] }],
  });
  const look = fromAddress(new URLSearchParams("unit=epoch&span=1-2"));
  Object.assign(curves, { look, data: of(100), perEpoch: new Map([[1, 100]]), show() {} });
  assert.deepEqual([curves.unit(), curves.shownRange()], ["epoch", [1, 2]]);
  Object.assign(curves, { data: of(null), whole: [0, 300] });
  assert.deepEqual([curves.unit(), curves.shownRange()], ["step", [0, 300]]);
  curves.zoomTo(10, 20);
  assert.deepEqual([curves.unit(), curves.shownRange()], ["step", [10, 20]]);
  curves.data = of(100);
  assert.deepEqual([curves.unit(), curves.shownRange()], ["step", [10, 20]]);
});
