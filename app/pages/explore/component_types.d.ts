// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * One photo of the grid; `note` says why a `missing` one cannot be shown.
 */
export interface PhotoTile {
  id: number;
  thumb: string;
  name: string;
  badges: string[];
  width: number;
  height: number;
  tags?: string[];
  missing?: boolean;
  note?: string;
}

/**
 * All that is drawn. `tags`: words to offer; `figure`: None where nothing is saved.
 */
export interface GalleryPayload {
  tiles: PhotoTile[];
  selected: number | null;
  tags: string[];
  scope: number | null;
  can_mark: boolean;
  figure: Figure | null;
}
