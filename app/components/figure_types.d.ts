// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * name: file name without extension. caption: sentences. place: further URL parameters of a permanent link.
 */
export interface Figure {
  name: string;
  caption: string[];
  place: Record<string, string | string[]>;
}
