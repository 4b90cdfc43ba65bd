"""What two sets share by overlap, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.orl.boxes import iou
from orl_explorer.orl.measure import agreement
from orl_explorer.orl.measure.agreement import couples, found_again

BOX = [0, 0, 10, 10]
SHIFTED = [2, 0, 10, 10]  # IoU 8 / 12 with BOX
HALF = [5, 0, 10, 10]  # IoU 5 / 15 with BOX, 7 / 13 with SHIFTED


def pairs(*ends: tuple[list[int], list[int]]) -> np.ndarray:
    return np.array(ends, np.int16).reshape(-1, 2, 4)


def test_a_pair_is_found_again_if_both_ends_overlap_enough() -> None:
    ours = pairs((BOX, BOX), (BOX, HALF), (HALF, BOX))
    theirs = pairs((SHIFTED, BOX), (SHIFTED, SHIFTED))
    groups = np.zeros(3, np.int64), np.zeros(2, np.int64)
    found = found_again(groups, (ours, theirs), 0.5)
    assert [f.tolist() for f in found] == [[True, True, True], [True, True]]
    found = found_again(groups, (ours, theirs), 0.6)
    assert [f.tolist() for f in found] == [[True, False, False], [True, True]]
    found = found_again(groups, (ours, pairs((BOX, BOX), (BOX, BOX))), 1.0)
    assert [f.tolist() for f in found] == [[True, False, False], [True, True]]


def test_things_of_other_groups_are_never_the_same() -> None:
    same = pairs((BOX, BOX), (BOX, BOX))
    found = found_again((np.array([1, 3]), np.array([2, 3])), (same, same), 0.5)
    assert [f.tolist() for f in found] == [[False, True], [False, True]]
    none = np.empty(0, np.int64), np.array([2, 3])
    assert [f.tolist() for f in found_again(none, (same[:0], same), 0.5)] == [[], [False, False]]


@pytest.mark.parametrize("together", [1, 7, 10_000])
@pytest.mark.parametrize("least", [0.3, 0.5, 1.0])
def test_it_equals_plain_loops_whatever_is_compared_at_once(
    monkeypatch: pytest.MonkeyPatch, together: int, least: float
) -> None:
    monkeypatch.setattr(agreement, "TOGETHER", together)
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(3, size=40)), np.sort(rng.integers(3, size=30))
    one, other = (np.concatenate([rng.integers(5, size=(len(g), 2, 2)), np.full((len(g), 2, 2), 6)], 2) for g in groups)
    other[::5] = one[np.searchsorted(groups[0], groups[1][::5])]  # some are equal
    found = found_again(groups, (one, other), least)
    expected = np.zeros(40, bool), np.zeros(30, bool)
    for i in range(40):
        for k in range(30):
            if groups[0][i] == groups[1][k] and all(iou(one[i, end], other[k, end]) >= least for end in (0, 1)):
                expected[0][i] = expected[1][k] = True
    assert 0 < expected[0].sum() < 40
    for mine, plain in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_couples_are_one_to_one_and_the_largest_overlap_comes_first() -> None:
    ours, theirs = pairs((BOX, BOX), (SHIFTED, BOX)), pairs((HALF, BOX), (SHIFTED, BOX), (SHIFTED, BOX))
    assert couples(ours, theirs, 0.5) == [(1, 1), (0, 2)]  # not (1, 0) besides, whose first is taken
    assert couples(ours, theirs, 1.0) == [(1, 1)]
    assert couples(ours[:0], theirs, 0.5) == couples(ours, theirs[:0], 0.5) == []
