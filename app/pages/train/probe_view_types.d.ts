// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * One side.
 */
export interface ProbePhoto {
  id: number;
  name: string;
  url: string;
  width: number;
  height: number;
  thumb: string;
}

/**
 * A pair of boxes.
 */
export interface ProbeMatch {
  q: number[];
  k: number[];
  similarity: number;
}

/**
 * A query photo and one of its neighbours: the set's own pairs, and of each checkpoint those found then.
 */
export interface Couple {
  query: ProbePhoto;
  neighbor: ProbePhoto;
  own: ProbeMatch[];
  found: ProbeMatch[][];
}

/**
 * When.
 */
export interface Checkpoint {
  step: number;
  epoch: number;
}

/**
 * All that is drawn. `couple` and `step`: where to begin; `own`: name of the set whose pairs are `own`.
 */
export interface ProbesPayload {
  couples: Couple[];
  checkpoints: Checkpoint[];
  own: string;
  couple: number;
  step: number | null;
  figure: Figure;
}
