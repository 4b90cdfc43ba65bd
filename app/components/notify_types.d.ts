// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * A run that ended since the page was opened. said: how, for people.
 */
export interface EndedRun {
  id: number;
  said: string;
}

/**
 * Data of the component. live: how many runs work or wait.
 */
export interface BellPayload {
  live: number;
  ended: EndedRun[];
}
