// Of the TypedDicts of the same name, by `python -m tests.payload_types`.

import type { Figure } from "../../components/figure_types";

/**
 * A RoI: its photo's name, and the URL of its crop.
 */
export interface CardSide {
  name: string;
  crop: string;
}

/**
 * One match. `id` is a name that the page understands; `margin` and `cycle` are null where not measured.
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
 * All that is drawn. `tags`: words to offer; `answered`: the `n` that was heard last.
 */
export interface MatchesPayload {
  cards: Card[];
  tags: string[];
  can_judge: boolean;
  answered: number;
  figure: Figure;
}
