"""The pairs of a set that people have judged, with what each person said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from orl_explorer.db.marks import Judgement, Verdict
from orl_explorer.db.models import Roi
from orl_explorer.db.sets.pairs import pair_keys, places_of
from orl_explorer.db.store import Store, in_byte_order


@dataclass(frozen=True)
class JudgedPair:
    """A judged pair: its key as ``pair_keys``, its similarity, and the verdict of each person by name."""

    key: int
    similarity: float
    verdicts: dict[str, Judgement]

    @property
    def opinions(self) -> dict[str, bool]:
        """Who found it good (True) or wrong (False); *interesting* says neither."""
        return {who: said == "good" for who, said in self.verdicts.items() if said != "interesting"}

    @property
    def good(self) -> bool | None:
        """Whether most people found it good; None if as many found it wrong, or nobody said either."""
        said = list(self.opinions.values())
        return None if 2 * sum(said) == len(said) else 2 * sum(said) > len(said)

    @property
    def divided(self) -> bool:
        """Whether somebody found it good and somebody else wrong."""
        return len(set(self.opinions.values())) == 2


def judged_pairs(store: Store, set_id: int, among: Iterable[int] | None = None) -> list[JudgedPair]:
    """Return the pairs of a set that anybody judged, by key. among: keys; others are left out."""
    question = select(Verdict.query_roi_id, Verdict.key_roi_id, Roi.image_id, Verdict.author, Verdict.verdict)
    question = question.join(Roi, Roi.id == Verdict.query_roi_id).order_by(in_byte_order(Verdict.author))
    said: dict[tuple[int, int, int], dict[str, Judgement]] = {}
    with store.session() as session:
        for query, key, image, author, verdict in session.execute(question):
            said.setdefault((query, key, image), {})[author] = verdict
    verdicts = {(query, key): given for (query, key, _), given in said.items()}
    places = places_of(store, set_id, list(said))
    keys = pair_keys(np.array([place for place, *_ in places], np.int64).reshape(-1, 3)).tolist()
    found = [JudgedPair(key, cosine, verdicts[rois]) for key, (_, rois, cosine) in zip(keys, places, strict=True)]
    wanted = None if among is None else set(among)
    return found if wanted is None else [pair for pair in found if pair.key in wanted]
