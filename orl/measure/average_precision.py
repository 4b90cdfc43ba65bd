"""Average precision of VOC07 classification, and confidence intervals of its mean."""

from __future__ import annotations

import numpy as np

INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap: 95 % lie between
BLOCK = 64  # draws at a time


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the interpolated precision-recall curve; NaN without positives.

    scores: float [n]. positive: bool [n]. The curve has a point for each distinct score, so that the order of equal
    ones does not matter.
    """
    return float(_areas(scores, positive, np.ones((1, len(scores)), np.int64))[0])


def bootstrap(scores: np.ndarray, labels: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Return the average precision of each class over test photos drawn with replacement: float64 [draws, C].

    scores: float [n, C]. labels: int [n, C], 1 positive, -1 negative, 0 ignored. A draw uses the same photos for
    all classes. It is NaN for a class without positives.
    """
    rng = np.random.default_rng(seed)
    n, classes = scores.shape
    found = np.empty((draws, classes))
    for start in range(0, draws, BLOCK):
        some = min(BLOCK, draws - start)
        counts = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(some)])
        for c in range(classes):
            counted = labels[:, c] != 0
            found[start : start + some, c] = _areas(
                scores[counted, c], labels[counted, c] > 0, np.ascontiguousarray(counts[:, counted])
            )
    return found


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Return the interval that holds 95 % of the draws: float [d] -> lower and upper end."""
    low, high = np.nanpercentile(draws, INTERVAL)
    return float(low), float(high)


def _areas(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the average precision if photo i occurs ``counts[d, i]`` times: float64 [d]."""
    if not len(scores):
        return np.full(len(counts), np.nan)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # of each run of equal scores
    counts = counts[:, order]
    right = np.cumsum(counts * positive[order], axis=1)[:, last]
    seen = np.cumsum(counts, axis=1)[:, last]
    precision = right / np.maximum(seen, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    gained = np.diff(right, axis=1, prepend=0)
    total = right[:, -1]
    return np.where(total > 0, (gained * best).sum(axis=1) / np.maximum(total, 1), np.nan)
