// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * A button of a step, and the page that it opens.
 */
export interface GuideLink {
  text: string;
  page: string;
}

/**
 * A step, what it does, and what can be done.
 */
export interface GuideStep {
  title: string;
  said: string;
  state: "done" | "next" | "later";
  links: GuideLink[];
}

/**
 * Data of the component.
 */
export interface GuidePayload {
  steps: GuideStep[];
}
