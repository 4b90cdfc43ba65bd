"""Shares with intervals, Cohen's κ and thresholds, against numbers worked out by hand and in the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orl_explorer.orl.measure.judged import Share, Threshold, compare_verdicts, lowest_threshold


def test_a_share_has_wilsons_interval() -> None:
    """The limits of 0 of 10, 1 of 20 and 90 of 100 as in tables of Wilson's interval."""
    for share, value, low, high in (
        (Share(0, 10), 0.0, 0.0, 0.2775),
        (Share(1, 20), 0.05, 0.0089, 0.2361),
        (Share(90, 100), 0.9, 0.8256, 0.9448),
        (Share(10, 10), 1.0, 0.7225, 1.0),
    ):
        assert (share.value, *(round(end, 4) for end in share.interval)) == (value, low, high)
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).interval == (0.0, 1.0)


def verdicts(both: int, first_only: int, second_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the verdicts of two people from a table of counts, True for good."""
    counts = [both, first_only, second_only, neither]
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_kappa_of_two_readers_of_fifty_proposals() -> None:
    """The textbook example: 20 and 15 agreed, 5 and 10 not; 0.7 observed, 0.5 by chance."""
    found = compare_verdicts(*verdicts(20, 5, 10, 15))
    assert (found.pairs, found.agreed) == (50, 35)
    assert found.chance == pytest.approx(0.5)
    assert found.kappa == pytest.approx(0.4)
    assert found.interval == pytest.approx((0.146, 0.654), abs=1e-3)


def test_kappa_knows_chance() -> None:
    """The same agreement of 60 % is worth less where one verdict is common."""
    assert compare_verdicts(*verdicts(45, 15, 25, 15)).kappa == pytest.approx(0.1304, abs=1e-4)
    assert compare_verdicts(*verdicts(25, 35, 5, 35)).kappa == pytest.approx(0.2593, abs=1e-4)
    assert compare_verdicts(*verdicts(5, 0, 0, 5)).kappa == 1
    assert compare_verdicts(*verdicts(0, 5, 5, 0)).kappa == -1


def test_there_is_no_kappa_of_one_verdict_alone() -> None:
    found = compare_verdicts(*verdicts(7, 0, 0, 0))
    assert (found.pairs, found.agreed, found.kappa, found.interval) == (7, 7, None, None)


COSINES = np.array([0.9, 0.852, 0.8, 0.7504, 0.7501, 0.7, 0.6, 0.5], np.float32)
GOOD = np.array([True, True, False, True, True, False, True, False])


@pytest.mark.parametrize(
    ("target", "least", "count", "total"),
    [
        (1.0, 0.852, 2, 2),
        (0.8, 0.75, 4, 5),  # with 0.7504 alone there are three of four
        (0.7, 0.6, 5, 7),
        (0.6, 0.5, 5, 8),
    ],
)
def test_the_lowest_threshold_that_is_good_enough(target: float, least: float, count: int, total: int) -> None:
    expected = Threshold(least, Share(count, total))
    assert lowest_threshold(COSINES, GOOD, target) == expected
    mixed = np.array([3, 0, 7, 5, 1, 6, 2, 4])
    assert lowest_threshold(COSINES[mixed], GOOD[mixed], target) == expected


def test_there_may_be_no_threshold() -> None:
    assert lowest_threshold(np.array([0.9, 0.8]), np.array([False, True]), 0.9) is None
    assert lowest_threshold(np.array([]), np.array([], bool), 0.5) is None


def test_the_threshold_is_that_of_trying_each() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        similarity = rng.uniform(-0.2, 1, 40).astype(np.float32)
        good = rng.random(40) < similarity
        target = float(rng.choice([0.5, 0.8, 0.9]))
        tried = {}
        for least in {math.floor(float(s) * 1000 + 1e-6) / 1000 for s in similarity}:
            above = [bool(g) for s, g in zip(similarity, good, strict=True) if s >= np.float32(least)]
            if sum(above) >= target * len(above) - 1e-9:
                tried[least] = Share(sum(above), len(above))
        found = lowest_threshold(similarity, good, target)
        assert found == (Threshold(min(tried), tried[min(tried)]) if tried else None)
