"""Nearest-neighbour images among those in nearby cells, for datasets too large to compare all (not in the paper).

The cells are those of an inverted file (Sivic & Zisserman 2003; Jégou et al. 2011): k-means of the features. A photo is
compared with the photos of the few cells whose centres are most similar to it. Within these cells, the search is exact.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import numpy as np

from orl_explorer.orl.matching import (
    BestFound,
    Neighbors,
    Rows,
    compare_with_all,
    flat_index,
    nearest_within,
    refuse_few,
)

CELLS = 4.0  # times the root of the number of images is the number of cells
PROBES = 16  # cells in which the neighbours of an image are searched
LEARNED_FROM = 64  # images for each cell from which its centre is learned
ROUNDS = 10  # of k-means
SEED = 0


def neighbors_in_cells(
    features: Rows, ids: np.ndarray, k: int, *, probes: int = PROBES, block: int = 8192
) -> Neighbors:
    """Find K similar other images of every image: most of the K most similar, or all if these lie in its cells.

    features: float [n, D], rows L2-normalised. ids: int64 [n], ascending. k: 1..n-1. probes: number of cells that are
    searched for each image. Images with fewer than K others in their cells are compared with all images. In memory are
    two cells, the numbers of all images' cells, and the images from which the cells are learned. Raises ValueError if k
    is not in 1..n-1.
    """
    count = len(ids)
    refuse_few(count, k)
    centres = _centres(features)
    near = _nearest_cells(features, centres, min(probes, len(centres)), block)
    members, starts = _by_cell(near[:, :1], len(centres))
    queries, asked = _by_cell(near, len(centres))
    best = BestFound.of(count, k)
    for (first, last), (begin, end) in zip(pairwise(starts), pairwise(asked), strict=True):
        own = members[first:last]
        if not len(own):
            continue
        index = flat_index(features[own])
        for some in np.array_split(queries[begin:end], -(-(end - begin) // block)):
            places = np.searchsorted(own, some)
            themselves = np.where(own[np.minimum(places, len(own) - 1)] == some, places, -1)
            rows, similarity = nearest_within(index, 0, features[some], themselves, k)
            found = rows < len(own)
            best.take(some, np.where(found, own[np.where(found, rows, 0)], count), similarity)
    short = np.flatnonzero(np.isinf(best.similarity[:, -1]))
    if len(short):
        best.rows[short], best.similarity[short] = count, -np.inf
        compare_with_all(best, features, short, block)
    return best.neighbors(ids)


def _centres(features: Rows) -> np.ndarray:
    """Learn the centres of cells, float32 [C, D], unit rows."""
    import faiss  # as in `matching`

    count = features.shape[0]
    cells = max(1, min(round(CELLS * sqrt(count)), count // 8))
    drawn = np.sort(np.random.default_rng(SEED).permutation(count)[: LEARNED_FROM * cells])
    learner = faiss.Kmeans(features.shape[1], cells, niter=ROUNDS, seed=SEED, spherical=True, min_points_per_centroid=1)
    learner.train(np.ascontiguousarray(features[drawn], np.float32))
    return np.asarray(learner.centroids)


def _nearest_cells(features: Rows, centres: np.ndarray, probes: int, block: int) -> np.ndarray:
    """Return the cells of each image, int32 [n, probes], most similar first."""
    index, count = flat_index(centres), features.shape[0]
    near = np.empty((count, probes), np.int32)
    for start in range(0, count, block):
        near[start : start + block] = index.search(
            np.ascontiguousarray(features[start : start + block], np.float32), probes
        )[1]
    return near


def _by_cell(cells: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images in the order of their cells, int64, ascending in each, and where each cell begins, int64 [C + 1].

    cells: int32 [n, P]. An image of P cells occurs P times.
    """
    order = np.argsort(cells.ravel(), kind="stable")
    starts = np.searchsorted(cells.ravel()[order], np.arange(count + 1))
    return order // cells.shape[1], starts
