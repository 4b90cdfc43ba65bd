// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

/**
 * The photo.
 */
export interface ExamplePhoto {
  name: string;
  url: string;
  width: number;
  height: number;
}

/**
 * Data of the view.
 *
 * photo: None before one was given. box: what is searched with. whole: whether that is the whole photo. rois: of the
 * photo in the set. can_draw: whether other boxes can be embedded. send_to: URL that takes a picture; most: its
 * largest size in bytes.
 */
export interface ExamplePayload {
  photo: ExamplePhoto | null;
  box: number[] | null;
  whole: boolean;
  rois: number[][];
  can_draw: boolean;
  send_to: string;
  most: number;
}
