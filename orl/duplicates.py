"""Near-duplicates: photos whose features are nearly the same, such as resized, re-encoded or cropped copies."""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.matching import Rows

NEAR_DUPLICATE = 0.9  # cosine from which two photos count as near-duplicates; measured by research/near_duplicates.py
ROUNDING = 1e-6  # of a cosine in single precision


def near_duplicate_groups(features: Rows, threshold: float = NEAR_DUPLICATE, *, block: int = 4096) -> np.ndarray:
    """Return the group of each photo, int64 [n]: the row of the group's first photo.

    features: float [n, D], rows L2-normalised. Photos with a cosine of at least ``threshold`` are in one group, and so
    are those that a chain of such photos connects. Compares all with all, with two blocks of features and one table of
    their cosines in memory.
    """
    count = features.shape[0]
    group = np.arange(count)
    for start in range(0, count, block):
        own = np.asarray(features[start : start + block], np.float32)
        for first in range(start, count, block):
            other = own if first == start else np.asarray(features[first : first + block], np.float32)
            one, two = np.nonzero(own @ other.T >= threshold - ROUNDING)
            _join(group, one + start, two + first)
    return group


def _join(group: np.ndarray, one: np.ndarray, two: np.ndarray) -> None:
    """Join the groups of photos, pair by pair. group: int64 [n], written; each group's number is that of its first."""
    while len(one):
        a, b = group[one], group[two]
        differ = a != b
        one, two, a, b = one[differ], two[differ], a[differ], b[differ]
        np.minimum.at(group, a, b)
        np.minimum.at(group, b, a)
        while (further := group[group] != group).any():
            group[further] = group[group[further]]
