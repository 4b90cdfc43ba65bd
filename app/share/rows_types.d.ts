// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * A photo of the gallery. picture: whether there is one. mean: of its pairs' cosines. cycle: share of them.
 */
export interface SharedPhoto {
  name: string;
  width: number;
  height: number;
  picture: boolean;
  rois: number;
  pairs: number;
  mean: number | null;
  cycle: number | null;
}

/**
 * RoIs, neighbours and pairs of a photo.
 *
 * rois: x, y, w, h of each, flat. objectness: empty if the set does not use it. neighbors: rank, number of the photo,
 * cosine. pairs: rank of the neighbour, indices of query RoI and key RoI, cosine, margin, consistent, verdict.
 */
export interface SharedRows {
  rois: number[];
  objectness: number[];
  neighbors: [number, number, number][];
  pairs: ([number, number, number, number, number | null, boolean | null, string | null])[];
}

/**
 * All pairs as columns, base64, little-endian: photo (uint32), place among its pairs (uint16), and float32.
 */
export interface SharedMatches {
  count: number;
  photo: string;
  place: string;
  similarity: string;
  margin: string;
  cycle: string;
}
