// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * A line about the set. code: whether it is shown as code.
 */
export interface SharedFact {
  name: string;
  value: string;
  code: boolean;
}

/**
 * A setting of mining. paper: the paper's value, if it is another one.
 */
export interface SharedSetting {
  name: string;
  value: string;
  paper: string;
}

/**
 * What the folder holds. chunk: photos of a file. full: whether there are pictures in full size.
 */
export interface SharedAbout {
  set: string;
  dataset: string;
  made_by: string;
  queries: number;
  photos: number;
  pairs: number;
  chunk: number;
  full: boolean;
  holds: string[];
  facts: SharedFact[];
  settings: SharedSetting[];
  measures: SharedFact[];
}
