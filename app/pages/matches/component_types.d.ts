// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A RoI: the name of its photo, the URL of its crop, and what became of the photo's file since, if anything.
 */
export interface CardSide {
  name: string;
  crop: string;
  lost: "" | "gone" | "unreadable" | "changed";
}

/**
 * One match. `id`: its set and its key; `margin` and `cycle`: null if not measured.
 */
export interface Card {
  id: string;
  query: CardSide;
  key: CardSide;
  neighbor_rank: number;
  similarity: number;
  margin: number | null;
  cycle: boolean | null;
  verdict: "good" | "wrong" | "interesting" | null;
  tags: string[];
}

/**
 * Data of the grid. `tags`: suggestions; `answered`: the last acknowledged `n`.
 */
export interface MatchesPayload {
  cards: Card[];
  tags: string[];
  can_judge: boolean;
  answered: number;
  figure: Figure;
}
