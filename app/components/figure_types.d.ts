// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * `name` of the file, without its kind; `caption`: sentences; `place`: what a lasting link says besides.
 */
export interface Figure {
  name: string;
  caption: string[];
  place: Record<string, string | string[]>;
}
