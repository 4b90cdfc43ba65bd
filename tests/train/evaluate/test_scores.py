"""Two encoders on the same test photos, compared draw by draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orl_explorer.orl.measure.average_precision import average_precision
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.scores import Scores, ahead, mean_map

LABELS = np.array([[1, -1], [-1, 1], [1, 0], [-1, -1], [-1, 1], [1, -1]])


def scores(*columns: list[float], labels: np.ndarray = LABELS) -> Scores:
    return Scores(["cat", "dog"], np.array(columns).T, labels)


PERFECT = [3.0, 0.0, 3.0, 0.0, 0.0, 3.0], [0.0, 3.0, 9.0, 0.0, 3.0, 0.0]  # the 9 is of a photo that does not count
CAT_LAST = [0.0, 3.0, 0.0, 3.0, 3.0, 0.0], PERFECT[1]


def test_average_precision_leaves_out_what_does_not_count() -> None:
    assert scores(*PERFECT).average_precisions() == [1.0, 1.0]
    assert scores(*CAT_LAST).average_precisions() == [0.5, 1.0]  # 3 of 6 when all cats are found


def test_the_difference_is_that_of_the_means_and_the_interval_that_of_common_draws() -> None:
    found = ahead([scores(*PERFECT)], [scores(*CAT_LAST)], draws=200, seed=1)
    assert found.value == 0.25
    draws = np.random.default_rng(1)
    plain = []
    for _ in range(64):
        drawn = draws.integers(6, size=6)
        each = []
        for column in (PERFECT[0], CAT_LAST[0]):
            values, positive = np.array(column)[drawn], LABELS[drawn, 0] > 0
            each.append(average_precision(values, positive) if positive.any() else np.nan)
        plain.append(each[0] - each[1])
    ours = scores(*PERFECT).draws(64, 1)[:, 0] - scores(*CAT_LAST).draws(64, 1)[:, 0]
    np.testing.assert_allclose(ours, plain)
    assert found.low < 0.25 < found.high


def test_an_encoder_is_not_ahead_of_itself() -> None:
    assert ahead([scores(*PERFECT)] * 2, [scores(*PERFECT)] * 2) == (0, 0, 0)


def test_over_seeds_both_photos_and_seeds_are_drawn_and_each_pair_is_of_one_seed() -> None:
    good, bad = scores(*PERFECT), scores(*CAT_LAST)
    assert mean_map([good, bad]).value == pytest.approx(0.875)
    assert ahead([good, bad], [bad, good]).value == 0
    found = ahead([good, bad, good], [bad, good, bad], draws=150, seed=2)
    assert found.value == pytest.approx(0.25 / 3)
    plain = []
    each = good.draws(150, 2) - bad.draws(150, 2)
    of_photos = np.nanmean(each, axis=1)  # with 6 photos, no draw lacks both classes
    by_seed = [of_photos, -of_photos, of_photos]
    drawn = np.random.default_rng(2).integers(3, size=(3, 150))
    for draw in range(150):
        plain.append(np.mean([by_seed[drawn[place, draw]][draw] for place in range(3)]))
    assert (found.low, found.high) == pytest.approx(tuple(np.nanpercentile(plain, (2.5, 97.5))))


def test_other_photos_and_lost_files_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot compare the two encoders: their test photos differ"):
        ahead([scores(*PERFECT)], [scores(*PERFECT, labels=-LABELS)])
    with pytest.raises(UserError, match="has no classifier scores any more. Evaluate the encoder again"):
        Scores.kept_in(tmp_path)
