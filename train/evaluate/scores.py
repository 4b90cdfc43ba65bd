"""The scores of an evaluation's classifiers on its test photos, kept in its folder. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orl_explorer.orl.measure.average_precision import average_precision, bootstrap, interval
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import Labelled, kept
from orl_explorer.train.evaluate.parts import KeptParts


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of the C classes that the test photos show.

    values: float [n, C]. labels: int [n, C], 1, -1, or 0 for ignored.
    """

    classes: list[str]
    values: np.ndarray
    labels: np.ndarray

    @classmethod
    def kept_in(cls, folder: Path) -> Scores:
        """Read the scores of an SVM run. Raises UserError if its folder does not have them."""
        _, test = kept(folder, lambda: _gone(folder))
        parts = KeptParts(folder)
        there = [c for c in range(len(test.classes)) if (test.labels[:, c] > 0).any()]
        names = [test.classes[c] for c in there]
        if not all(name in parts for name in names):
            _gone(folder)
        values = np.array([parts[name]["scores"] for name in names]).T
        return cls(names, values, test.labels[:, there])

    def average_precisions(self) -> list[float]:
        """Return the average precision of each class."""
        found = []
        for c in range(len(self.classes)):
            counted = self.labels[:, c] != 0
            found.append(average_precision(self.values[counted, c], self.labels[counted, c] > 0))
        return found

    def draws(self, count: int, seed: int) -> np.ndarray:
        """Return the average precision of each class on test photos drawn with replacement: float64 [count, C].

        The draws do not depend on the scores, so two encoders can be compared draw by draw.
        """
        return _bootstrapped(self, count, seed)


@lru_cache(maxsize=64)  # a table compares each encoder with several
def _bootstrapped(scores: Scores, count: int, seed: int) -> np.ndarray:
    return bootstrap(scores.values, scores.labels, count, seed)


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def signed(self) -> str:
        """Describe a difference of shares in points, such as +8.1 (+4.6 to +11.5)."""
        value, low, high = (100 * number for number in self)
        return f"{value:+.1f} ({low:+.1f} to {high:+.1f})".replace("-", "−")


def mean_map(seeds: Sequence[Scores], draws: int = 1000, seed: int = 0) -> Estimate:
    """Return the mAP of a method: its mean over trainings with different seeds, each given by its scores.

    The interval is over test photos and seeds, both drawn with replacement.
    """
    each = np.stack([_maps(scores, draws, seed) for scores in seeds])
    return _estimate(float(np.mean([np.mean(scores.average_precisions()) for scores in seeds])), each, seed)


def ahead(ones: Sequence[Scores], others: Sequence[Scores], draws: int = 1000, seed: int = 0) -> Estimate:
    """Return the mAP of one method minus that of another, for seeds in the same order.

    Both see the same test photos and the same seeds in each draw, so that what is common to both does not widen the
    interval. Raises UserError if the photos differ.
    """
    for one, other in zip(ones, others, strict=True):
        if one.classes != other.classes or not np.array_equal(one.labels, other.labels):
            raise UserError("Cannot compare the two encoders: their test photos differ.")
    pairs = list(zip(ones, others, strict=True))
    value = np.mean([np.mean(one.average_precisions()) - np.mean(other.average_precisions()) for one, other in pairs])
    each = np.stack([np.nanmean(_drawn(one, other, draws, seed), axis=1) for one, other in pairs])
    return _estimate(float(value), each, seed)


def _drawn(one: Scores, other: Scores, draws: int, seed: int) -> np.ndarray:
    each = one.draws(draws, seed) - other.draws(draws, seed)
    return each[~np.isnan(each).all(axis=1)]  # a draw of few photos may show no class


def _maps(scores: Scores, draws: int, seed: int) -> np.ndarray:
    each = scores.draws(draws, seed)
    return np.nanmean(each[~np.isnan(each).all(axis=1)], axis=1)


def _estimate(value: float, each: np.ndarray, seed: int) -> Estimate:
    """Return the estimate from draws of photos for each seed, float [seeds, draws]: draws the seeds as well."""
    chosen = np.random.default_rng(seed).integers(len(each), size=each.shape)
    return Estimate(value, *interval(np.take_along_axis(each, chosen, axis=0).mean(axis=0)))


def _gone(folder: Path) -> tuple[Labelled, Labelled]:
    raise UserError(f"{folder} has no classifier scores any more. Evaluate the encoder again.")
