// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * A photo with a RoI x y w h, the URL of its crop, and what became of the photo's file since, if anything.
 */
export interface JudgedSide {
  id: number;
  name: string;
  url: string;
  width: number;
  height: number;
  box: number[];
  crop: string;
  lost: "" | "gone" | "unreadable" | "changed";
}

/**
 * A pair: its place in the sample, and its name: the set and the key.
 */
export interface PairToJudge {
  at: number;
  id: string;
  query: JudgedSide;
  key: JudgedSide;
}

/**
 * Data of the view.
 *
 * sample: names the sample; another one begins at its own `start`. verdicts: a letter for each pair of the sample,
 * this person's verdict: g, x, i, or a dot. pairs: those around the place on screen. again: whether judged pairs are
 * shown too. answered: the last acknowledged `n`.
 */
export interface JudgePayload {
  sample: string;
  verdicts: string;
  start: number;
  pairs: PairToJudge[];
  again: boolean;
  can_judge: boolean;
  answered: number;
}
