// @ts-check
// The verdicts on a pair: name (also of the icon), label, and key.

/** @import { ShownPair } from "../pages/pair/component_types.js" */

/** @typedef {NonNullable<ShownPair["verdict"]>} Judgement */

/** @type {{ name: Judgement, word: string, key: string }[]} */
export const VERDICTS = [
  { name: "good", word: "Good", key: "g" },
  { name: "wrong", word: "Wrong", key: "x" },
  { name: "interesting", word: "Interesting", key: "i" },
];
