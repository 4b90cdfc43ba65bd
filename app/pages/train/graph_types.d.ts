// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * The contents of a box. `solid`: not a broken outline.
 */
export interface Node {
  name: string;
  kind: string;
  title: string;
  facts: string;
  solid: boolean;
}

/**
 * A box with its layer and row. `lit`: a relative of the box in `focus`.
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
 * Data of the component. Edges join nodes by name.
 */
export interface LineagePayload {
  nodes: PlacedNode[];
  edges: [string, string][];
  figure: Figure;
}
