"""What decides on a pair of RoIs, in words."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.app.explorer.why import facts_of, rank_of
from orl_explorer.train.mining.candidates import Described, Traits

SIMILAR = np.array([[0.5, 0.7, 0.1], [0.75, 0.6, 0.2]], np.float32)


def described(count: int, merit: list[float] | None = None) -> Described:
    worth = None if merit is None else np.array(merit, np.float32)
    return Described(np.empty((count, 4), np.float32), Traits(worth, None, None))


def facts(pair: tuple[int, int], merits: tuple[list[float], list[float]] | None = None) -> dict[str, str]:
    query, key = (described(n, merits and merits[side]) for side, n in enumerate(SIMILAR.shape))
    found = facts_of(SIMILAR, (query, key), (0.8, 0.25) if merits else None, pair, 2)
    assert all(fact.meaning.endswith(".") for fact in found)
    return {fact.name: fact.value for fact in found}


def test_a_pair_by_similarity_alone() -> None:
    assert facts((0, 1)) == {
        "cosine": "0.700",
        "for the query RoI": "1 of 3",
        "for the neighbour RoI": "1 of 2",
        "margin": "+0.200",
        "way back": "this RoI",
        "choice": "2 of 6",
    }
    assert facts((0, 0)) == {
        "cosine": "0.500",
        "for the query RoI": "2 of 3",
        "for the neighbour RoI": "2 of 2",
        "margin": "−0.200",
        "way back": "RoI 2 instead",
        "choice": "4 of 6",
    }


def test_objectness_and_what_it_adds_are_told_if_they_count() -> None:
    found = facts((0, 0), ([0.3, 0.0], [0.1, 0.0, 0.0]))
    assert (found["objectness"], found["worth"], found["choice"]) == ("0.80 and 0.25", "0.900", "2 of 6")


def test_a_neighbour_of_one_roi_has_no_margin() -> None:
    found = facts_of(SIMILAR[:, :1], (described(2), described(1)), None, (1, 0), 1)
    assert [fact.name for fact in found] == [
        "cosine",
        "for the query RoI",
        "for the neighbour RoI",
        "way back",
        "choice",
    ]
    assert "only the first is kept" in found[-1].meaning


@pytest.mark.parametrize(("pair", "rank"), [((0, 0), 1), ((0, 1), 2), ((1, 0), 3), ((1, 1), 4)])
def test_equal_pairs_rank_in_row_major_order(pair: tuple[int, int], rank: int) -> None:
    assert rank_of(np.ones((2, 2), np.float32), described(2), described(2), pair) == rank
