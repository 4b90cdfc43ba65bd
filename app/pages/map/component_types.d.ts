// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A column to colour by, with its label and an explanation.
 */
export interface Colouring {
  name: string;
  label: string;
  note: string;
}

/**
 * Display options: column, number of clusters, isolated labels, and centre and zoom as `x,y,zoom`.
 */
export interface MapLook {
  by: string;
  k: number;
  only: string[];
  at: string;
}

/**
 * Data of the view.
 */
export interface MapPayload {
  what: "photos" | "rois";
  count: number;
  state: string;
  column_url: string;
  photo_url: string;
  crop_url: string;
  about_url: string;
  colourings: Colouring[];
  most_clusters: number;
  look: MapLook;
  figure: Figure;
}
