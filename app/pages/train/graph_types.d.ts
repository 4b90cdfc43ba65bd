// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * What a box says; `solid`: a whole outline.
 */
export interface Node {
  name: string;
  kind: string;
  title: string;
  facts: string;
  solid: boolean;
}

/**
 * A box where it is, in layers and rows; `lit`: kin of the one in `focus`.
 */
export interface PlacedNode {
  name: string;
  kind: string;
  title: string;
  facts: string;
  solid: boolean;
  layer: number;
  row: number;
  lit: boolean;
  focus: boolean;
}

/**
 * All that is drawn; edges join nodes by name.
 */
export interface LineagePayload {
  nodes: PlacedNode[];
  edges: [string, string][];
  figure: Figure;
}
