// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A RoI. rank: from 1. photo, large: URLs of its photo. lost: what became of the photo's file since.
 */
export interface FoundRoi {
  id: number;
  rank: number;
  name: string;
  crop: string;
  photo: string;
  large: string;
  width: number;
  height: number;
  box: number[];
  similarity: number;
  category: string | null;
  lost: "" | "gone" | "unreadable" | "changed";
}

/**
 * Data of the grid.
 */
export interface ResultsPayload {
  found: FoundRoi[];
  figure: Figure;
}
