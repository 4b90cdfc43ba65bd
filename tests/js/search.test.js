// Boxes that a person draws, and pictures that a person gives.

import assert from "node:assert/strict";
import { test } from "node:test";

import { boxAfter, boxBetween } from "../../app/pages/search/box.js";
import { pictureOf, sent } from "../../app/pages/search/send.js";

const SIZE = { width: 100, height: 50 };

test("a drawn box has whole pixels inside the photo, in any direction", () => {
  assert.deepEqual(boxBetween([10.2, 5.9], [20.1, 30.5], SIZE), [10, 5, 11, 26]);
  assert.deepEqual(boxBetween([20.1, 30.5], [10.2, 5.9], SIZE), [10, 5, 11, 26]);
  assert.deepEqual(boxBetween([-5, -5], [300, 300], SIZE), [0, 0, 100, 50]);
  assert.deepEqual(boxBetween([300, 300], [300, 300], SIZE), [99, 49, 1, 1]);
});

test("arrow keys move a box, and with Shift they resize it", () => {
  assert.deepEqual(boxAfter([10, 10, 20, 20], "ArrowRight", false, SIZE), [12, 10, 20, 20]);
  assert.deepEqual(boxAfter([1, 10, 20, 20], "ArrowLeft", false, SIZE), [0, 10, 20, 20]);
  assert.deepEqual(boxAfter([10, 30, 20, 20], "ArrowDown", false, SIZE), [10, 30, 20, 20]);
  assert.deepEqual(boxAfter([10, 10, 20, 20], "ArrowDown", true, SIZE), [10, 10, 20, 22]);
  assert.deepEqual(boxAfter([10, 10, 2, 20], "ArrowLeft", true, SIZE), [10, 10, 1, 20]);
});

test("of what is dropped, the first picture is taken, and an address is refused", () => {
  const [text, picture] = [{ type: "text/plain" }, { type: "image/png" }];
  assert.equal(pictureOf({ files: [text, picture], types: ["Files"] }), picture);
  assert.equal(pictureOf({ files: [text], types: ["Files"] }), text);
  assert.match(pictureOf({ files: [], types: ["text/uri-list"] }), /fetches no addresses/);
  assert.equal(pictureOf({ files: [], types: ["text/plain"] }), "");
});

test("a picture is sent, or the reason why not is said", async () => {
  const asked = [];
  globalThis.fetch = async (url, how) => {
    asked.push([url, how.method, how.headers["Content-Type"], how.body.size]);
    return url === "/down" ? Promise.reject(new Error("x")) : new Response('{"name":"abc"}', { status: +url.slice(1) });
  };
  assert.equal(await sent({ size: 5 }, "/200", 9), "abc");
  assert.deepEqual(asked, [["/200", "POST", "application/octet-stream", 5]]);
  await assert.rejects(sent({ size: 5 }, "/422", 9), { message: '{"name":"abc"}' });
  await assert.rejects(sent({ size: 5 }, "/down", 9), /cannot be reached/);
  await assert.rejects(sent({ size: 3 << 20 }, "/200", 2 << 20), /larger than 2 MB/);
  assert.equal(asked.length, 3);
});
