// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * A raw box that the filter rejected, and why. `blocker`: the kept box that it overlaps.
 */
export interface RejectedBox {
  raw: number;
  box: number[];
  rule: "size" | "aspect" | "overlap" | "count";
  why: string;
  blocker: number | null;
}

/**
 * One side of the stage.
 */
export interface ShownPhoto {
  id: number;
  name: string;
  url: string;
  width: number;
  height: number;
  boxes: number[][];
  rejected: RejectedBox[];
}

/**
 * The right side of the stage.
 */
export interface NeighborPhoto {
  id: number;
  name: string;
  url: string;
  width: number;
  height: number;
  boxes: number[][];
  rejected: RejectedBox[];
  rank: number;
  similarity: number;
}

/**
 * One entry of the filmstrip.
 */
export interface NeighborThumb {
  rank: number;
  id: number;
  name: string;
  thumb: string;
  similarity: number;
  pairs: number | null;
}

/**
 * Two matched boxes: `q` indexes the query's boxes, `k` the neighbour's.
 */
export interface ShownPair {
  rank: number;
  q: number;
  k: number;
  similarity: number;
  verdict: "good" | "wrong" | "interesting" | null;
}

/**
 * The selected pair.
 */
export interface SelectedPair {
  q: number;
  k: number;
}

/**
 * A selected pair that is not kept, with a sentence about its rank.
 */
export interface OutsidePair {
  q: number;
  k: number;
  similarity: number;
  verdict: "good" | "wrong" | "interesting" | null;
  note: string;
}

/**
 * Cosines of all query RoIs (rows) and all RoIs of the neighbour: int16 in 1/10000, row by row, base64.
 */
export interface Matrix {
  rows: number;
  columns: number;
  values: string;
}

/**
 * The best match of a RoI in the query (`rank` None) or in a neighbour; unknown before that is embedded.
 */
export interface BestMatchItem {
  rank: number | null;
  id: number;
  index: number | null;
  box: number[] | null;
  similarity: number | null;
}

/**
 * The best matches of one RoI.
 */
export interface BestMatchList {
  side: "query" | "neighbor";
  index: number;
  items: BestMatchItem[];
}

/**
 * The reason why a raw box was rejected.
 */
export interface Explained {
  side: "query" | "neighbor";
  raw: number;
  text: string;
}

/**
 * Heat maps over the photos. `colors`: stops of the legend from low to high.
 */
export interface PairHeat {
  query: string | null;
  neighbor: string | null;
  label: string;
  low: string;
  high: string;
  colors: string[];
}

/**
 * A number about the selected pair, in words, and what it means.
 */
export interface PairFact {
  name: string;
  value: string;
  meaning: string;
}

/**
 * A photo, its map of cosines to the pair's RoI in the other photo, and the pair's RoI in this one.
 */
export interface Answering {
  title: string;
  photo: string;
  heat: string;
  width: number;
  height: number;
  box: number[];
}

/**
 * What decides on the selected pair. cells: empty if the set's encoder has no maps.
 */
export interface PairReasons {
  q: number;
  k: number;
  facts: PairFact[];
  cells: Answering[];
}

/**
 * Data of the view.
 */
export interface PairPayload {
  query: ShownPhoto;
  neighbor: NeighborPhoto | null;
  neighbors: NeighborThumb[];
  pairs: ShownPair[];
  selected: SelectedPair | null;
  outside: OutsidePair | null;
  roi: string | null;
  matches: BestMatchList | null;
  explained: Explained | null;
  reasons: PairReasons | null;
  matrix: Matrix | null;
  attention: PairHeat | null;
  place: Record<string, string>;
  caption: string[];
  crop_url: string;
  can_judge: boolean;
  prefetch?: string[];
}
