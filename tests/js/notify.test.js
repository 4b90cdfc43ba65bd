// The bell that tells when a run has ended.

import assert from "node:assert/strict";
import { test } from "node:test";

import { news, offer } from "../../app/components/notify.js";

const run = (id) => ({ id, said: `Run ${id}, a: done` });

test("each run is told of once", () => {
  assert.deepEqual(news([run(1), run(2)], [1]), { fresh: [run(2)], told: [1, 2] });
  assert.deepEqual(news([run(1)], [1]), { fresh: [], told: [1] });
  const many = Array.from({ length: 60 }, (_, i) => run(i));
  assert.equal(news(many, []).told.length, 50);
});

test("the button says what it does, and why it cannot", () => {
  assert.deepEqual(offer("default", true), { text: "Tell me when a run ends", can: true });
  assert.deepEqual(offer("granted", true), { text: "You will be told when a run ends", can: true });
  assert.deepEqual(offer("granted", false), { text: "Tell me when a run ends", can: true });
  assert.equal(offer("denied", true).can, false);
  assert.equal(offer("missing", true).can, false);
});
