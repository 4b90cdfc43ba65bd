// The stage: where boxes, links and photos lie, and what the URL says of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { boxesAt, framesFor, linkBetween, sizeText, viewOf } from "../../app/components/stage/geometry.js";
import { captionOf } from "../../app/pages/pair/caption.js";
import { levelsOf, unpacked } from "../../app/pages/pair/cosines.js";
import { layersFrom, layersText, roiName, roiNamed, thresholdFrom } from "../../app/pages/pair/look.js";

test("the smallest box under the pointer comes first, and paired ones count as smaller", () => {
  const large = { box: [0, 0, 100, 100] };
  const small = { box: [40, 40, 20, 20] };
  const paired = { box: [30, 30, 30, 30], pair: {} }; // 900 px, which count as 225
  const away = { box: [80, 80, 10, 10] };
  assert.deepEqual(boxesAt([large, small, paired, away], 50, 50, 0), [paired, small, large]);
  assert.deepEqual(boxesAt([away], 78, 85, 0), []);
  assert.deepEqual(boxesAt([away], 78, 85, 2), [away]);
});

test("a box's size in whole pixels", () => {
  assert.equal(sizeText([1, 2, 30.6, 40.2]), "31 × 40");
});

test("photos stand side by side, as high as the width allows", () => {
  assert.deepEqual(framesFor([1, 1], 428, 700, false), [
    { x: 0, y: 40, width: 200, height: 200 },
    { x: 228, y: 40, width: 200, height: 200 },
  ]);
});

test("photos that need no more than a part of the width stand in the middle of it", () => {
  assert.deepEqual(framesFor([1, 2], 1000, 200, false), [
    { x: 145, y: 40, width: 200, height: 200 },
    { x: 455, y: 40, width: 400, height: 200 },
  ]);
});

test("where there is little room one photo stands below the other", () => {
  assert.deepEqual(framesFor([2, 1], 400, 300, true), [
    { x: 0, y: 40, width: 400, height: 200 },
    { x: 50, y: 296, width: 300, height: 300 },
  ]);
});

test("a link joins the edges that face each other", () => {
  const from = { left: 0, right: 100, top: 0, bottom: 50 };
  assert.deepEqual(linkBetween(from, { left: 200, right: 300, top: 100, bottom: 200 }, false), {
    path: "M100 25C140 25 160 150 200 150",
    middle: [150, 87.5],
  });
  assert.deepEqual(linkBetween(from, { left: 0, right: 40, top: 90, bottom: 200 }, true), {
    path: "M50 50C50 70 20 70 20 90",
    middle: [35, 70],
  });
});

test("a box fills about half of the frame, zoomed six times at most", () => {
  assert.deepEqual(viewOf([100, 100, 110, 50], { width: 400, height: 400 }), { zoom: 2, u: 0.1375, v: 0.0625 });
  assert.equal(viewOf([0, 0, 1, 1], { width: 400, height: 400 }).zoom, 6);
});

test("layers are in the URL unless they are as at first", () => {
  const first = { boxes: true, links: true, rejected: false, attention: false, matrix: true };
  const none = { boxes: false, links: false, rejected: false, attention: false, matrix: false };
  assert.equal(layersText(first), "");
  assert.equal(layersText({ ...first, rejected: true }), "boxes.links.rejected.matrix");
  assert.equal(layersText(none), "none");
  assert.deepEqual(layersFrom(null), first);
  assert.deepEqual(layersFrom("links.nonsense"), { ...none, links: true });
  assert.deepEqual(layersFrom("none"), none);
});

test("a least similarity is a number or none", () => {
  assert.deepEqual([null, "", "0.75", "much"].map(thresholdFrom), [null, null, 0.75, null]);
});

test("boxes have names", () => {
  assert.deepEqual(roiNamed("q3"), { side: "query", rejected: false, index: 3 });
  assert.deepEqual(roiNamed("nx12"), { side: "neighbor", rejected: true, index: 12 });
  assert.deepEqual([null, "", "q", "x3", "q3 "].map(roiNamed), [null, null, null, null, null]);
  assert.equal(roiName({ side: "query", kind: "candidate", box: [0, 0, 1, 1], index: 3 }), "q3");
  const why = { raw: 12, box: [0, 0, 1, 1], rule: "size", why: "", blocker: null };
  assert.equal(roiName({ side: "neighbor", kind: "rejected", box: [0, 0, 1, 1], index: 0, why }), "nx12");
});

test("cosines come as whole numbers of ten-thousandths", () => {
  const bytes = new Uint8Array(new Int16Array([10000, -5000, 0, 2500, 1, -1]).buffer);
  const { rows, columns, cosines } = unpacked({ rows: 2, columns: 3, values: btoa(String.fromCharCode(...bytes)) });
  assert.deepEqual([rows, columns], [2, 3]);
  assert.deepEqual(cosines, new Float32Array([1, -0.5, 0, 0.25, 0.0001, -0.0001]));
});

test("levels reach from the least to the greatest value", () => {
  assert.deepEqual(levelsOf(new Float32Array([0.5, -0.5, 0])), { low: -0.5, high: 0.5, levels: [255, 0, 128] });
  assert.deepEqual(levelsOf(new Float32Array([0.25])), { low: 0.25, high: 0.25, levels: [255] });
});

test("a figure says which pairs it shows, and what is laid over them", () => {
  assert.deepEqual(captionOf(["Set demo."], { shown: 4, pairs: 4, threshold: null, attention: "" }), [
    "Set demo.",
    "Pairs shown: 4 of 4.",
  ]);
  assert.deepEqual(captionOf([], { shown: 2, pairs: 4, threshold: 0.8, attention: "activation norm" }), [
    "Pairs shown: 2 of 4, similarity at least 0.800.",
    "Attention: activation norm.",
  ]);
});
