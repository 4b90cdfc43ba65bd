"""Nearest-neighbour images and the most similar RoI pairs between them (Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pairs:
    """Matched RoIs of a query image and one neighbour, most similar first.

    query, key: int64 [n], indices into the two images' RoIs. similarity: float32 [n], cosine.
    """

    query: np.ndarray
    key: np.ndarray
    similarity: np.ndarray

    def __len__(self) -> int:
        return len(self.query)


def pair_count(pair_ratio: float, query_rois: int) -> int:
    """Number of pairs kept per neighbour, ``max(1, int(N * B_q))``: N is a share of the query's RoIs."""
    return max(1, int(pair_ratio * query_rois))


def top_pairs(query: np.ndarray, key: np.ndarray, pair_ratio: float, min_similarity: float = -1.0) -> Pairs:
    """Keep the largest entries of the similarity matrix M = Q K^T of two images' RoIs (Sec. 3.2).

    query: float32 [B_q, D], key: float32 [B_k, D], rows L2-normalised. A RoI may occur in several pairs.
    Equal similarities are taken in row-major order, so that the result never depends on the sort.
    """
    matrix = query.astype(np.float32, copy=False) @ key.astype(np.float32, copy=False).T
    flat = matrix.ravel()
    count = min(pair_count(pair_ratio, len(query)), flat.size)
    threshold = np.partition(flat, flat.size - count)[flat.size - count]
    at_least = np.flatnonzero(flat >= max(threshold, min_similarity))
    best = at_least[np.argsort(-flat[at_least], kind="stable")][:count]
    rows, columns = np.unravel_index(best, matrix.shape)
    return Pairs(rows, columns, flat[best])


@dataclass(frozen=True)
class Neighbors:
    """K nearest images of each image: ids int64 [n, K] and cosine similarity float32 [n, K], best first."""

    ids: np.ndarray
    similarity: np.ndarray


def nearest_neighbors(features: np.ndarray, ids: np.ndarray, k: int, *, block: int = 1024) -> Neighbors:
    """Find the K most similar other images of every image, exactly.

    features: float [n, D], rows L2-normalised (a memory map will do). ids: int64 [n], ascending. k: 1..n-1.
    The image itself is dropped by id, so duplicate photos stay as neighbours of one another; equal
    similarities come in the order of ids. Raises ValueError when k does not fit.
    """
    import faiss  # here, because the explorer previews with top_pairs alone and should start at once

    if not 1 <= k < len(ids):
        raise ValueError(f"K = {k} neighbours need at least {k + 1} images, and there are {len(ids)}.")
    index = faiss.IndexFlatIP(features.shape[1])
    for start in range(0, len(ids), block):
        index.add(np.ascontiguousarray(features[start : start + block], dtype=np.float32))
    found_ids = np.empty((len(ids), k), dtype=np.int64)
    found_similarity = np.empty((len(ids), k), dtype=np.float32)
    for start in range(0, len(ids), block):
        queries = np.ascontiguousarray(features[start : start + block], dtype=np.float32)
        similarity, rows = index.search(queries, k + 1)
        for offset in range(len(queries)):
            other = rows[offset] != start + offset
            if other.all():  # crowded out by at least k + 1 duplicates of itself
                other[-1] = False
            row, value = rows[offset][other], similarity[offset][other]
            order = np.lexsort((row, -value))
            found_ids[start + offset] = ids[row[order]]
            found_similarity[start + offset] = value[order]
    return Neighbors(found_ids, np.clip(found_similarity, -1.0, 1.0))
