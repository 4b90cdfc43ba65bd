"""Measure the cost of a map: principal components, neighbours and places of synthetic features in groups.

python benchmarks/maps.py --points 1000 --points 100000
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from orl_explorer.orl.tsne import clusters, principal, tsne

GROUPS = 60


def grouped(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit rows around GROUPS directions, float32 [n, D], and their groups, int64 [n]."""
    rng = np.random.default_rng(0)
    groups = rng.integers(GROUPS, size=count)
    rows = rng.normal(size=(GROUPS, width)).astype(np.float32)[groups]
    rows += 0.9 * rng.normal(size=rows.shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), groups


def main() -> None:
    """Print the seconds of each part, and the share of nearest places that belong to the point's own group."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, action="append")
    parser.add_argument("--width", type=int, default=256)
    arguments = parser.parse_args()
    for count in arguments.points or [1_000]:
        rows, groups = grouped(count, arguments.width)
        begun = time.perf_counter()
        components = principal(rows)
        reduced = time.perf_counter()
        with threadpool_limits(1):
            places = tsne(components)
        placed = time.perf_counter()
        clusters(components, 8)
        clustered = time.perf_counter()
        sample = np.random.default_rng(1).integers(count, size=500)
        far = np.linalg.norm(places[sample, None] - places[None], axis=2)
        far[np.arange(500), sample] = np.inf
        same = (groups[far.argmin(axis=1)] == groups[sample]).mean()
        seconds = [f"{b - a:.1f} s" for a, b in pairwise((begun, reduced, placed, clustered))]
        print(f"{count:,} points of {arguments.width}: components, places, 8 clusters in {', '.join(seconds)};")
        print(f"  {same:.1%} of nearest places are of the same group")


if __name__ == "__main__":
    main()
