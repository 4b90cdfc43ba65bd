"""The scores of an evaluation's classifiers on its test photos, kept in its folder. Does not import torch."""

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
        return bootstrap(self.values, self.labels, count, seed)


class Ahead(NamedTuple):
    """The difference of two encoders' mAP, and its 95 % interval over draws of test photos."""

    difference: float
    low: float
    high: float


def ahead(one: Scores, other: Scores, draws: int = 1000, seed: int = 0) -> Ahead:
    """Compare two encoders on the same test photos. Raises UserError if the photos differ."""
    if one.classes != other.classes or not np.array_equal(one.labels, other.labels):
        raise UserError("Cannot compare the two encoders: their test photos differ.")
    difference = np.mean(one.average_precisions()) - np.mean(other.average_precisions())
    each = one.draws(draws, seed) - other.draws(draws, seed)
    measured = each[~np.isnan(each).all(axis=1)]  # a draw of few photos may show no class
    return Ahead(float(difference), *interval(np.nanmean(measured, axis=1)))


def _gone(folder: Path) -> tuple[Labelled, Labelled]:
    raise UserError(f"{folder} has no classifier scores any more. Evaluate the encoder again.")
