// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { RejectedBox, ShownPhoto } from "../pair/component_types";

/**
 * The neighbour in one set. Rank and similarity are None if it is no neighbour there.
 */
export interface ComparedPhoto {
  id: number;
  name: string;
  url: string;
  width: number;
  height: number;
  boxes: number[][];
  rejected: RejectedBox[];
  rank: number | null;
  similarity: number | null;
}

/**
 * A neighbour's rank and similarity in one set.
 */
export interface ComparePlace {
  rank: number;
  similarity: number;
}

/**
 * A neighbour in either set, and the numbers of kept, lost and new pairs with it.
 */
export interface ComparedThumb {
  id: number;
  name: string;
  thumb: string;
  status: "kept" | "lost" | "new";
  first: ComparePlace | null;
  second: ComparePlace | null;
  counts: Record<"kept" | "lost" | "new", number>;
}

/**
 * A pair of one pane: `q` and `k` index its boxes. The same pair has one `id` in both panes.
 */
export interface ComparedPair {
  id: string;
  number: number;
  status: "kept" | "lost" | "new";
  q: number;
  k: number;
  similarity: number;
}

/**
 * One set's stage.
 */
export interface Pane {
  title: string;
  note: string;
  query: ShownPhoto;
  neighbor: ComparedPhoto;
  pairs: ComparedPair[];
}

/**
 * A row of the table: both boxes, in the first set if it has the pair, and the similarity in either set.
 */
export interface ComparedRow {
  id: string;
  number: number;
  status: "kept" | "lost" | "new";
  boxes: [number[], number[]];
  similarity: [number | null, number | null];
}

/**
 * Data of the view.
 */
export interface ComparePayload {
  neighbor: number;
  neighbors: ComparedThumb[];
  panes: [Pane, Pane];
  rows: ComparedRow[];
  selected: string | null;
  place: Record<string, string>;
  caption: string[];
  crop_url: string;
  prefetch: string[];
}
