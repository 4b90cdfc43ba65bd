"""Metrics of a run for charts, thinned so that points do not move when new values arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

POINTS = 1500  # buckets of a curve at most; more would not be visible


@dataclass(frozen=True)
class Thinned:
    """A metric in buckets of ``stride`` steps, a power of two.

    step: int64 [n], the last step in each bucket. count: int64 [n], values in it. mean, low, high: float64 [n].
    """

    stride: int
    step: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


NOTHING = Thinned(1, *(np.empty(0, np.int64) for _ in range(2)), *(np.empty(0) for _ in range(3)))


def thin(before: Thinned, steps: Sequence[int], values: Sequence[float], points: int = POINTS) -> Thinned:
    """Add values to buckets. Their steps ascend and follow the earlier ones.

    A full bucket does not change until all buckets double in width, so a growing curve is stable. Thinning in parts
    gives the same result as thinning at once.
    """
    if not len(steps):
        return before
    step = np.concatenate([before.step, np.asarray(steps, np.int64)])
    value = np.asarray(values, np.float64)
    count = np.concatenate([before.count, np.ones(len(value), np.int64)])
    mean, low, high = (np.concatenate([known, value]) for known in (before.mean, before.low, before.high))
    return coarser(Thinned(before.stride, step, count, mean, low, high), points)


def coarser(curve: Thinned, points: int) -> Thinned:
    """Return a curve with at most so many buckets."""
    stride, step, count = curve.stride, curve.step, curve.count
    while len(step) and step[-1] // stride >= points:
        stride *= 2
    first = np.flatnonzero(np.diff(step // stride, prepend=-1))
    if len(first) == len(step):
        return replace(curve, stride=stride)
    total = np.add.reduceat(count, first)
    return Thinned(
        stride,
        step[np.append(first[1:], len(step)) - 1],
        total,
        np.add.reduceat(curve.mean * count, first) / total,
        np.minimum.reduceat(curve.low, first),
        np.maximum.reduceat(curve.high, first),
    )


def setting_differences(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the settings that differ between runs, with their values in each run; "–" for a missing one.

    settings: by name of the run.
    """
    names = list(dict.fromkeys(name for values in settings.values() for name in values))
    table = {name: [_said(values, name) for values in settings.values()] for name in names}
    return {name: row for name, row in table.items() if len(set(row)) > 1}


def _said(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "–"
    value = values[name]
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Format a duration in seconds for people."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    days = seconds / 86_400
    if days < 60:
        return f"{days:.0f} days"
    return f"{days / 30.44:.0f} months" if days < 730 else f"{days / 365.25:,.0f} years"
