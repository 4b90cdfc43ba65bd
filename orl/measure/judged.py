"""What people's verdicts on pairs say: the share of wrong pairs, how far people agree, and which cosine is enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Z95 = 1.959963984540054  # of a normal distribution, for intervals of 95 %
STEP = 0.001  # of thresholds: what a person reads is what a set is made with


@dataclass(frozen=True)
class Share:
    """A share of judged pairs, ``count`` of ``total``, with its interval of 95 % by Wilson's score."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share; NaN of no pairs."""
        return self.count / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The limits of the interval; 0 to 1 of no pairs."""
        if not self.total:
            return 0.0, 1.0
        spread = Z95**2 / self.total
        middle = (self.value + spread / 2) / (1 + spread)
        half = math.sqrt(spread * (self.value * (1 - self.value) + spread / 4)) / (1 + spread)
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Agreement:
    """How far two people agree on the pairs that both judged.

    pairs: their number. agreed: how many got the same verdict. chance: the share on which they would agree if each gave
    as many verdicts of each kind, but to pairs drawn at random. kappa: Cohen's κ, and interval: its interval of 95 %
    (large-sample standard error); None if both gave one and the same verdict throughout, which says nothing.
    """

    pairs: int
    agreed: int
    chance: float
    kappa: float | None
    interval: tuple[float, float] | None


def compare_verdicts(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Compare two people's verdicts on the same pairs, bool [n], n at least 1, by Cohen's κ (Cohen, 1960)."""
    count, agreed = len(first), int((first == second).sum())
    one, two = float(first.mean()), float(second.mean())
    chance = one * two + (1 - one) * (1 - two)
    if math.isclose(chance, 1):
        return Agreement(count, agreed, chance, None, None)
    observed = agreed / count
    kappa = (observed - chance) / (1 - chance)
    half = Z95 * math.sqrt(observed * (1 - observed) / count) / (1 - chance)
    return Agreement(count, agreed, chance, kappa, (max(-1.0, kappa - half), min(1.0, kappa + half)))


@dataclass(frozen=True)
class Threshold:
    """A least cosine, and the share of good ones among the judged pairs at or above it."""

    least: float
    good: Share


def lowest_threshold(similarity: np.ndarray, good: np.ndarray, target: float) -> Threshold | None:
    """Return the lowest cosine at or above which at least a target share of the judged pairs are good, or None.

    similarity: float32 [n], of the judged pairs. good: bool [n]. target: in (0, 1]. Thresholds are the cosines of
    judged pairs, rounded down to thousandths.
    """
    if not len(similarity):
        return None
    steps = np.floor(similarity.astype(np.float64) / STEP).astype(np.int64)
    steps += ((steps + 1) * STEP).astype(np.float32) <= similarity.astype(
        np.float32
    )  # 0.852 is less in single precision
    order = np.argsort(-steps, kind="stable")
    steps, right = steps[order], np.cumsum(good[order])
    last = np.flatnonzero(np.append(steps[1:] != steps[:-1], True))  # of the pairs of each threshold
    enough = last[right[last] >= target * (last + 1) - 1e-9]
    if not len(enough):
        return None
    at = int(enough[-1])
    return Threshold(round(int(steps[at]) * STEP, 3), Share(int(right[at]), at + 1))
