// What all views share: numbers, words, colours, addresses, grids with one tab stop.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  alongScale,
  DARK,
  gradient,
  haloed,
  PAIRS,
  rgb,
  VIRIDIS_LEVELS,
  wordsOn,
} from "../../app/components/colours.js";
import { Echo } from "../../app/components/echo.js";
import { numbered } from "../../app/components/entry.js";
import { clamp } from "../../app/components/numbers.js";
import { moved } from "../../app/components/roving.js";
import { cropUrl, filled, withParameters } from "../../app/components/urls.js";
import { cut, fileStem, plural, wrapped } from "../../app/components/words.js";

test("a number stays between two others", () => {
  assert.deepEqual(
    [-1, 0.5, 7].map((value) => clamp(value, 0, 1)),
    [0, 0.5, 1],
  );
});

test("nouns agree with their numbers", () => {
  const said = [0, 1, 2, 12345, "no"].map((count) => plural(count, "pair"));
  assert.deepEqual(said, ["0 pairs", "1 pair", "2 pairs", "12,345 pairs", "no pair"]);
});

test("lines break at spaces", () => {
  assert.deepEqual(wrapped("one two three four", 9), ["one two", "three", "four"]);
  assert.deepEqual(wrapped("one incomprehensibilities", 9), ["one", "incomprehensibilities"]);
  assert.deepEqual(wrapped("", 9), [""]);
});

test("what is too long ends in an ellipsis", () => {
  assert.equal(cut("starter", 7), "starter");
  assert.equal(cut("demo-starter", 7), "demo-s…");
});

test("a photo's file without folder and kind", () => {
  assert.equal(fileStem({ name: "a/b.c/000012.jpg" }), "000012");
  assert.equal(fileStem({ name: "photo" }), "photo");
});

test("a colour in numbers", () => {
  assert.deepEqual(rgb("#0072B2"), [0, 114, 178]);
});

test("a place of a scale lies between its stops", () => {
  const stops = ["#000000", "#6496c8", "#ffffff"];
  assert.deepEqual(
    [0, 0.25, 0.5, 1].map((share) => alongScale(stops, share)),
    [
      [0, 0, 0],
      [50, 75, 100],
      [100, 150, 200],
      [255, 255, 255],
    ],
  );
});

test("viridis begins dark and ends yellow", () => {
  assert.equal(VIRIDIS_LEVELS.length, 256);
  assert.deepEqual(
    [VIRIDIS_LEVELS[0], VIRIDIS_LEVELS[255]],
    [
      [68, 1, 84],
      [253, 231, 37],
    ],
  );
  assert.equal(gradient(["#000", "#fff"]), "linear-gradient(90deg, #000, #fff)");
});

test("light colours have a dark halo and dark words", () => {
  assert.deepEqual(haloed("#E69F00"), { color: "#E69F00", halo: DARK });
  assert.equal(wordsOn(DARK), "#111");
  assert.notEqual(haloed("#0072B2").halo, DARK);
  assert.equal(wordsOn(haloed("#0072B2").halo), "#fff");
  assert.equal(new Set(PAIRS.map(({ color }) => color)).size, 9);
});

test("a template is filled with whole numbers", () => {
  assert.equal(filled("photo/{image}?w=240", { image: 12 }), "photo/12?w=240");
  assert.equal(cropUrl("crop/{image}/{x}-{y}-{w}-{h}", 7, [1.4, 2.5, 30, 40]), "crop/7/1-3-30-40");
});

test("an address takes parameters, several of a name, and leaves empty ones out", () => {
  const href = withParameters("http://host/pair?q=3&cos=0.5&set=old", {
    cos: "",
    set: "demo",
    runs: ["1", "2"],
    tags: [],
  });
  assert.equal(href, "http://host/pair?q=3&set=demo&runs=1&runs=2");
});

test("events differ from one another", () => {
  const [first, second] = [numbered({ q: 1 }), numbered({ q: 1 })];
  assert.deepEqual({ ...first, n: 0 }, { q: 1, n: 0 });
  assert.equal(second.n, first.n + 1);
});

test("an echo is no news, what the page says of its own accord is", () => {
  const echo = new Echo();
  assert.equal(echo.isNews({ by: "tag" }), true);
  assert.equal(echo.isNews({ by: "tag" }), false);
  echo.tell({ by: "size" });
  echo.tell({ by: "set" });
  assert.equal(echo.isNews({ by: "tag" }), false); // older than what was told
  assert.equal(echo.isNews({ by: "set" }), false);
  assert.equal(echo.isNews({ by: "size" }), true); // overtaken by what was told after it
});

// Seven items in rows of three.
const TOPS = [0, 1, 0, 100, 100, 101, 200];

for (const [index, key, target] of [
  [0, "ArrowRight", 1],
  [2, "ArrowRight", 3],
  [6, "ArrowRight", 6],
  [0, "ArrowLeft", 0],
  [1, "ArrowDown", 4],
  [4, "ArrowDown", 4], // there is no eighth one
  [3, "ArrowDown", 6],
  [6, "ArrowUp", 3],
  [1, "ArrowUp", 1],
  [4, "Home", 0],
  [4, "End", 6],
])
  test(`${key} leads from item ${index} to item ${target}`, () => {
    assert.equal(moved(TOPS, index, key), target);
  });

test("in a single row up and down lead nowhere", () => {
  assert.equal(moved([5, 5, 5], 1, "ArrowDown"), 1);
});
