// @ts-check
// What a person can say of a pair: the words, the key, and the icon of the same name.

/** @import { ShownPair } from "../pages/pair/component_types.js" */

/** @typedef {NonNullable<ShownPair["verdict"]>} Judgement */

/** @type {{ name: Judgement, word: string, key: string }[]} */
export const VERDICTS = [
  { name: "good", word: "Good", key: "g" },
  { name: "wrong", word: "Wrong", key: "x" },
  { name: "interesting", word: "Interesting", key: "i" },
];
