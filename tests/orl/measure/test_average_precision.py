"""Average precision against values computed by hand, and a bootstrap against drawing photos one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orl_explorer.orl.measure.average_precision import average_precision, bootstrap, interval


@pytest.mark.parametrize(
    ("positive", "expected"),
    [
        ([1, 1, 0, 0], 1.0),
        ([0, 0, 1, 1], 1 / 2),  # precision 1/3 at the first, 2/4 at the second: both are lifted to 1/2
        ([1, 0, 1, 0], 1 / 2 * 1 + 1 / 2 * 2 / 3),
        ([0, 1, 0, 1, 1], 3 / 5),  # 1/2, 2/4, 3/5, lifted to 3/5 throughout
        ([1, 0, 0, 1], 1 / 2 * 1 + 1 / 2 * 1 / 2),
    ],
)
def test_it_is_the_area_under_the_interpolated_curve(positive: list[int], expected: float) -> None:
    scores = np.arange(len(positive), 0, -1, dtype=float)
    assert average_precision(scores, np.array(positive, bool)) == pytest.approx(expected)


def test_the_order_of_photos_does_not_matter() -> None:
    scores, positive = np.array([0.1, 0.9, 0.5, 0.7]), np.array([1, 1, 0, 0], bool)
    order = np.array([2, 0, 3, 1])
    expected = 1 / 2 * 1 + 1 / 2 * 2 / 4
    assert average_precision(scores, positive) == pytest.approx(expected)
    assert average_precision(scores[order], positive[order]) == pytest.approx(expected)


def test_equal_scores_are_one_point_of_the_curve() -> None:
    positive = np.array([1, 0, 0, 0], bool)
    assert average_precision(np.zeros(4), positive) == pytest.approx(1 / 4)
    assert average_precision(np.zeros(4), positive[::-1]) == pytest.approx(1 / 4)


def test_without_a_positive_there_is_none() -> None:
    assert math.isnan(average_precision(np.arange(3.0), np.zeros(3, bool)))


def test_a_draw_is_the_average_precision_of_the_photos_it_drew() -> None:
    rng = np.random.default_rng(5)
    scores, labels = rng.normal(size=(30, 2)), rng.choice([-1, 0, 1], size=(30, 2))
    found = bootstrap(scores, labels, draws=70, seed=3)
    again = np.random.default_rng(3)
    for d in range(70):
        drawn = again.integers(30, size=30)
        for c in range(2):
            counted = drawn[labels[drawn, c] != 0]  # difficult photos are not there
            slow = average_precision(scores[counted, c], labels[counted, c] > 0)
            assert found[d, c] == pytest.approx(slow, nan_ok=True)


def test_the_interval_holds_95_percent_of_the_draws() -> None:
    assert interval(np.append(np.arange(1001) / 1000, np.nan)) == (pytest.approx(0.025), pytest.approx(0.975))


def test_equal_scores_below_the_best_are_one_point_too() -> None:
    scores, positive = np.array([3.0, 1.0, 1.0, 1.0]), np.array([0, 1, 0, 0], bool)
    assert average_precision(scores, positive) == pytest.approx(1 / 4)


def test_of_no_photos_there_is_none() -> None:
    assert math.isnan(average_precision(np.empty(0), np.empty(0, bool)))
