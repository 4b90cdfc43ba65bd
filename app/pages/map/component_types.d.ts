// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A column to colour by; `label` is for people, `note` says more.
 */
export interface Colouring {
  name: string;
  label: string;
  note: string;
}

/**
 * How the map is looked at: column, number of clusters, isolated labels, and centre and zoom as `x,y,zoom`.
 */
export interface MapLook {
  by: string;
  k: number;
  only: string[];
  at: string;
}

/**
 * Everything that the view needs to fetch and say.
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
