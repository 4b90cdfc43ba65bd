"""Which things of one correspondence set another one has too, where the same thing is told by overlap.

A thing has one box or several, its *ends*: a RoI has one, a pair of RoIs has two. Two things are the same if they
belong to the same group (photo, or pair of photos) and each end of one overlaps that end of the other enough.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from orl_explorer.orl.boxes import iou

TOGETHER = 1_000_000  # couples that are compared at once


def found_again(
    groups: tuple[np.ndarray, np.ndarray], ends: tuple[np.ndarray, np.ndarray], least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return for both sets which things the other has too: bool [n], bool [m].

    groups: int64 [n] and [m], ascending. ends: boxes x, y, w, h, [n, E, 4] and [m, E, 4]. least: the IoU, in (0, 1],
    that all ends reach; at 1, the boxes are the same.
    """
    found = np.zeros(len(groups[0]), bool), np.zeros(len(groups[1]), bool)
    for first, second in _couples(*groups):
        same = _overlap(ends[0][first], ends[1][second]) >= least
        found[0][first[same]] = found[1][second[same]] = True
    return found


def couples(first: np.ndarray, second: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Couple the same things of one group one to one, those of largest overlap first: their indices in both.

    first, second: ends [n, E, 4] and [m, E, 4]. least: as in ``found_again``. Of equal overlaps, the first in order.
    """
    overlap = _overlap(first[:, None], second[None])
    free = [np.ones(n, bool) for n in overlap.shape]
    found = []
    for at in np.argsort(-overlap, axis=None, kind="stable"):
        i, k = divmod(int(at), overlap.shape[1])
        if overlap[i, k] < least:
            break
        if free[0][i] and free[1][k]:
            free[0][i] = free[1][k] = False
            found.append((i, k))
    return found


def _overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The least IoU of all ends: [..., E, 4] each -> [...]."""
    return iou(first, second).min(axis=-1)


def _couples(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of all couples of the same group, about ``TOGETHER`` at once."""
    low, high = np.searchsorted(second, first, "left"), np.searchsorted(second, first, "right")
    ends = np.cumsum(high - low)
    start = 0
    while start < len(first):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + TOGETHER, "right")))
        counts = (high - low)[start:stop]
        one = np.repeat(np.arange(start, stop), counts)
        other = np.arange(len(one)) + np.repeat(low[start:stop] - (ends[start:stop] - counts - before), counts)
        yield one, other
        start = stop
