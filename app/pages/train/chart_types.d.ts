// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A run of the legend. `per_epoch`: steps per epoch, None for a run without epochs.
 */
export interface Source {
  id: number;
  name: string;
  color: string;
  dash: string;
  per_epoch: number | null;
}

/**
 * A curve. `x`: steps; `low` and `high`: range of the values that a point averages.
 */
export interface Line {
  run: number;
  label: string;
  color: string;
  dash: string;
  thin: boolean;
  x: number[];
  y: number[];
  low?: number[];
  high?: number[];
}

/**
 * A horizontal reference line.
 */
export interface Mark {
  y: number;
  text: string;
}

/**
 * One chart. `unit`: "" or "%", for shares of 1. `log`: a logarithmic axis is possible.
 */
export interface ChartPanel {
  name: string;
  title: string;
  unit: string;
  log: boolean;
  lines: Line[];
  mark: Mark | null;
}

/**
 * Data of the component.
 */
export interface CurvesPayload {
  runs: Source[];
  panels: ChartPanel[];
  figure: Figure;
}
