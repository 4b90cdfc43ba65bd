// The map, the attention page, the grids of photos and matches, without a page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { captionOf, methodOf, scaleOf } from "../../app/pages/attention/caption.js";
import { mapUrl, targetOf } from "../../app/pages/attention/target.js";
import { Choice } from "../../app/pages/explore/choice.js";
import { Camera } from "../../app/pages/map/camera.js";
import { Grid, labelColours, paintPoints, unpacked } from "../../app/pages/map/points.js";
import { Outbox } from "../../app/components/outbox.js";

const PLACES = new Float32Array([0, 0, 0.5, 0, 0.5, 0.5, -1, -1, 1, 1]);
const every = () => true;

test("the nearest wanted point within reach", () => {
  const grid = new Grid(PLACES);
  assert.equal(grid.nearest(0.48, 0.02, 0.1, every), 1);
  assert.equal(
    grid.nearest(0.48, 0.02, 0.6, (i) => i !== 1),
    2,
  );
  assert.equal(grid.nearest(0.2, 0.8, 0.1, every), -1);
  assert.equal(grid.nearest(1, 1, 0.01, every), 4);
});

test("points inside a lasso, which may have dents", () => {
  const grid = new Grid(PLACES);
  const square = [
    [-0.1, -0.1],
    [0.6, -0.1],
    [0.6, 0.6],
    [-0.1, 0.6],
  ];
  assert.deepEqual(grid.inside(square, every), [0, 1, 2]);
  assert.deepEqual(
    grid.inside(square, (i) => i !== 1),
    [0, 2],
  );
  assert.deepEqual(grid.inside([...square, [0.4, 0.2]], every), [1, 2]);
  assert.deepEqual(grid.inside([[0, 0]], every), []);
});
const labelled = (labels, values) => ({ labels, values: new Uint16Array(values) });

test("the commonest labels have colours, the nameless have none", () => {
  assert.deepEqual(labelColours(labelled(["cat", "dog", "none"], []), "#111111"), ["#0072B2", "#E69F00", "#999999"]);
  const many = labelColours(labelled("abcdefghij".split(""), []), "#111111");
  assert.deepEqual(many.slice(6), ["#F0E442", "#111111", "#999999", "#999999"]);
});

test("points of a label have its colour, and step back where they do not stand out", () => {
  const column = labelled(["cat", "none"], [0, 1, 0]);
  const bytes = paintPoints(column, "#111111", (i) => i < 2);
  assert.deepEqual([...bytes], [0, 114, 178, 255, 153, 153, 153, 128, 0, 114, 178, 0]);
});

test("points of a value lie on viridis, and are grey without one", () => {
  const column = { values: new Float32Array([-5, 2, NaN]), low: 0, high: 2 };
  assert.deepEqual(
    [...paintPoints(column, "#111111", every)],
    [...[68, 1, 84, 255], ...[253, 231, 37, 255], ...[153, 153, 153, 128]],
  );
});

test("a column is its header and its numbers", () => {
  const header = new TextEncoder().encode('{"dtype": "int16", "low": 1} ');
  header.fill(32, header.length - 1); // the numbers begin at an even place
  const padded = new Uint8Array(4 + header.length + (header.length % 2) + 4);
  new DataView(padded.buffer).setUint32(0, header.length + (header.length % 2), true);
  padded.set(header, 4);
  if (header.length % 2) padded[4 + header.length] = 32;
  new DataView(padded.buffer).setInt16(padded.length - 4, 7, true);
  new DataView(padded.buffer).setInt16(padded.length - 2, -2, true);
  assert.deepEqual(unpacked(padded.buffer), { dtype: "int16", low: 1, values: new Int16Array([7, -2]) });
});

test("a camera shows all of the map, and zooms around a place", () => {
  const camera = new Camera();
  camera.fit(400, 200);
  camera.span(PLACES);
  assert.deepEqual(camera.toPixels(0, 0), [200, 100]);
  assert.equal(camera.unit(), 94);
  camera.zoomAt(2, 294, 100);
  assert.deepEqual(
    camera.toMap(294, 100).map((value) => Number(value.toFixed(9))),
    [1, 0],
  );
  camera.reset();
  assert.deepEqual([camera.x, camera.y, camera.zoom], [0, 0, 1]);
});

test("a target is a point or a RoI", () => {
  assert.equal(targetOf(""), null);
  assert.deepEqual(targetOf("12-3-4"), { image: 12, x: 3, y: 4, width: undefined, height: undefined });
  assert.deepEqual(targetOf("12-3-4-50-60"), { image: 12, x: 3, y: 4, width: 50, height: 60 });
});

for (const [look, url] of [
  [{ to: "", cells: false, own: true }, "map/2/12"],
  [{ to: "", cells: true, own: false }, "map/2/12?cells=1"],
  [{ to: "12-3-4", cells: false, own: true }, "map/2/12?point=12-3-4&own=1"],
  [{ to: "12-3-4-50-60", cells: true, own: false }, "map/2/12?roi=12-3-4-50-60&cells=1"],
])
  test(`a map is asked for as ${url}`, () => assert.equal(mapUrl("map/{encoder}/{image}", 2, 12, look), url));

const LOOK = { to: "", opacity: 0.6, layer: "overlay", cells: false, own: false };
const QUERY = { id: 12, name: "a.jpg", url: "", width: 4, height: 3, similarity: null };

test("what maps compare with has a name", () => {
  const photos = { query: QUERY, neighbors: [{ ...QUERY, id: 13, name: "b.jpg" }] };
  assert.equal(methodOf(LOOK, photos), "activation norm of the last layer (L2 over channels)");
  assert.equal(methodOf({ ...LOOK, to: "13-3-4" }, photos), "cosine of the last layer to the point (3, 4) of b.jpg");
  assert.equal(
    methodOf({ ...LOOK, to: "99-3-4-50-60" }, photos),
    "cosine of the last layer to the RoI of 50 × 60 px at (3, 4) of photo 99",
  );
});

test("cosines have one scale for all, unless each map has its own", () => {
  assert.equal(scaleOf({ to: "12-3-4", own: false }).high, "1");
  assert.equal(scaleOf({ to: "12-3-4", own: true }).high, "max");
  assert.equal(scaleOf({ to: "", own: false }).high, "max");
});

test("a figure of maps says what they are", () => {
  const encoder = { id: 1, name: "starter", note: "supervised", supervised: true };
  const shown = {
    query: QUERY,
    neighbors: [QUERY],
    neighbors_by: "demo",
    encoders: [encoder, { ...encoder, note: "" }],
  };
  assert.deepEqual(captionOf({ ...LOOK, cells: true }, shown), [
    "Photo: a.jpg. Below: 1 neighbour from the set demo.",
    "Encoders: starter (supervised); starter.",
    "Map: activation norm of the last layer (L2 over channels); cells; map at 60 % over the photo.",
    "Scale: min to max, each map has its own scale.",
  ]);
});

test("photos are chosen one by one, or all up to one", () => {
  const choice = new Choice();
  choice.flip(3);
  choice.upTo(1, [5, 1, 4, 3]);
  assert.deepEqual([...choice.ids].sort(), [1, 3, 4]);
  choice.flip(4);
  assert.deepEqual([...choice.ids].sort(), [1, 3]);
  choice.clear();
  choice.upTo(4, [5, 1, 4, 3]); // there is no last one
  assert.deepEqual([...choice.ids], [4]);
  choice.upTo(9, [9, 8]); // the last one is on another page
  assert.deepEqual([...choice.ids].sort(), [4, 9]);
});

/** A clock that stands, and what waits for it. */
function clock(t) {
  const waiting = [];
  t.mock.method(Date, "now", () => 1000);
  t.mock.method(globalThis, "setTimeout", (act) => waiting.push(act));
  t.mock.method(globalThis, "clearTimeout", (number) => delete waiting[number - 1]);
  return () => waiting.splice(0).forEach((act) => act());
}

test("what is not answered is said again, with everything else, five times in all", (t) => {
  const tick = clock(t);
  const heard = [];
  const outbox = new Outbox((said) => heard.push(said));
  outbox.judge("a", "good");
  outbox.tag({ id: "b", tag: "odd", on: true });
  const tags = [{ n: 1001, id: "b", tag: "odd", on: true }];
  assert.deepEqual(heard, [
    { n: 1000, verdicts: { a: "good" }, tags: [] },
    { n: 1001, verdicts: { a: "good" }, tags },
  ]);
  outbox.answered(1000);
  tick();
  assert.deepEqual(heard[2], { n: 1001, verdicts: {}, tags });
  for (let again = 0; again < 9; again++) tick();
  assert.equal(heard.length, 6);
});

test("what is answered is not said again", (t) => {
  const tick = clock(t);
  const heard = [];
  const outbox = new Outbox((said) => heard.push(said));
  outbox.judge("a", null);
  outbox.answered(1000);
  tick();
  assert.deepEqual(heard, [{ n: 1000, verdicts: { a: null }, tags: [] }]);
});
