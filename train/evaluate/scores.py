"""What the classifiers of an evaluation said of its test photos, kept in its folder. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orl_explorer.orl.measure.average_precision import average_precision, bootstrap, interval
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import Labelled, kept
from orl_explorer.train.evaluate.parts import KeptParts


@dataclass(frozen=True)
class Scores:
    """Of the C classes that some test photo shows. values: float [n, C]. labels: 1, 0 (ignored) and -1, int [n, C]."""

    classes: list[str]
    values: np.ndarray
    labels: np.ndarray

    @classmethod
    def kept_in(cls, folder: Path) -> Scores:
        """Those of an SVM run. Raises UserError where its folder no longer has them."""
        _, test = kept(folder, lambda: _gone(folder))
        parts = KeptParts(folder)
        there = [c for c in range(len(test.classes)) if (test.labels[:, c] > 0).any()]
        names = [test.classes[c] for c in there]
        if not all(name in parts for name in names):
            _gone(folder)
        values = np.array([parts[name]["scores"] for name in names]).T
        return cls(names, values, test.labels[:, there])

    def average_precisions(self) -> list[float]:
        """Of each class."""
        found = []
        for c in range(len(self.classes)):
            counted = self.labels[:, c] != 0
            found.append(average_precision(self.values[counted, c], self.labels[counted, c] > 0))
        return found

    def draws(self, count: int, seed: int) -> np.ndarray:
        """Average precision of each class over test photos drawn with replacement: float64 [count, C].

        The same photos are drawn whatever the scores, so that two encoders can be compared draw by draw.
        """
        return bootstrap(self.values, self.labels, count, seed)


class Ahead(NamedTuple):
    """By how much the mAP of one is above another's, and where 95 % of the draws of test photos have it."""

    difference: float
    low: float
    high: float


def ahead(one: Scores, other: Scores, draws: int = 1000, seed: int = 0) -> Ahead:
    """Compare two encoders on the same test photos. Raises UserError where the photos are not the same."""
    if one.classes != other.classes or not np.array_equal(one.labels, other.labels):
        raise UserError("Two encoders can only be compared on the same test photos.")
    difference = np.mean(one.average_precisions()) - np.mean(other.average_precisions())
    each = one.draws(draws, seed) - other.draws(draws, seed)
    measured = each[~np.isnan(each).all(axis=1)]  # of few photos, a draw may show no class at all
    return Ahead(float(difference), *interval(np.nanmean(measured, axis=1)))


def _gone(folder: Path) -> tuple[Labelled, Labelled]:
    raise UserError(f"{folder} no longer holds what its classifiers said; evaluate the encoder again.")
