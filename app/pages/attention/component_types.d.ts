// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * Display options.
 *
 * `to`: target of the cosine maps, image-x-y for a point, image-x-y-w-h for a RoI, both in pixels of the image as
 * shown; `class` for the attention of the class token; empty for the activation norm. `own`: scale each cosine
 * map from its own minimum to its own maximum.
 */
export interface AttentionLook {
  to: string;
  opacity: number;
  layer: "overlay" | "photo" | "map";
  cells: boolean;
  own: boolean;
}

/**
 * One encoder. `note`: its architecture, its stage, and whether it was trained with labels.
 *
 * `class_token`: whether it has one.
 */
export interface EncoderColumn {
  id: number;
  name: string;
  note: string;
  supervised: boolean;
  class_token: boolean;
}

/**
 * One photo; `similarity` is None for the query.
 */
export interface PhotoPanel {
  id: number;
  name: string;
  url: string;
  width: number;
  height: number;
  similarity: number | null;
}

/**
 * Data of the view. `rois`: x y w h of the query's RoIs in rank order.
 */
export interface AttentionPayload {
  encoders: EncoderColumn[];
  query: PhotoPanel;
  neighbors: PhotoPanel[];
  neighbors_by: string;
  rois: number[][];
  look: AttentionLook;
  place: Record<string, string | string[]>;
  attention_url: string;
  crop_url: string;
  colors: string[];
}
