// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * One photo of a couple.
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
 * A query photo and one of its neighbours, with the set's own pairs and those of each checkpoint.
 */
export interface Couple {
  query: ProbePhoto;
  neighbor: ProbePhoto;
  own: ProbeMatch[];
  found: ProbeMatch[][];
}

/**
 * The time of a checkpoint.
 */
export interface Checkpoint {
  step: number;
  epoch: number;
}

/**
 * Data of the view. `couple` and `step`: shown at first; `own`: name of the set with the own pairs.
 */
export interface ProbesPayload {
  couples: Couple[];
  checkpoints: Checkpoint[];
  own: string;
  couple: number;
  step: number | null;
  figure: Figure;
}
