// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A run of the legend; `per_epoch` is its number of steps in an epoch.
 */
export interface Source {
  id: number;
  name: string;
  color: string;
  dash: string;
  per_epoch: number;
}

/**
 * A curve: `x` are steps; `low` and `high` bound the values that a point stands for.
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
 * A level to compare with.
 */
export interface Mark {
  y: number;
  text: string;
}

/**
 * One chart. `unit`: "" or "%", for shares of 1. `log`: may have a logarithmic axis.
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
 * All that is drawn.
 */
export interface CurvesPayload {
  runs: Source[];
  panels: ChartPanel[];
  figure: Figure;
}
