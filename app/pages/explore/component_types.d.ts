// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A short text on a tile, and what it means.
 */
export interface Badge {
  text: string;
  meaning: string;
}

/**
 * One photo of the grid. `note`: why a `missing` photo cannot be shown.
 */
export interface PhotoTile {
  id: number;
  thumb: string;
  name: string;
  badges: Badge[];
  width: number;
  height: number;
  tags?: string[];
  missing?: boolean;
  note?: string;
}

/**
 * Data of the grid.
 *
 * `tags`: suggestions. `kept_out`: the tag of photos that are kept out of mining. `figure`: None if the grid
 * cannot be saved as a figure.
 */
export interface GalleryPayload {
  tiles: PhotoTile[];
  selected: number | null;
  tags: string[];
  scope: number | null;
  can_mark: boolean;
  kept_out: string;
  figure: Figure | null;
}
