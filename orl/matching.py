"""Nearest-neighbour images and the most similar RoI pairs between them (Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pairs:
    """Matched RoIs of a query image and one neighbour, best first.

    query, key: int64 [n], indices into the two images' RoIs. similarity: float32 [n], cosine.
    margin: float32 [n], how much more similar the query RoI is to this key than to any other of the neighbour
    (negative where another is closer, NaN where there is no other).
    cycle: bool [n], whether the way back leads to the same query RoI: no other of the query is closer to the key.
    """

    query: np.ndarray
    key: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    cycle: np.ndarray

    def __len__(self) -> int:
        return len(self.query)


def pair_count(pair_ratio: float, query_rois: int) -> int:
    """Number of pairs kept per neighbour, ``max(1, int(N * B_q))``: N is a share of the query's RoIs."""
    return max(1, int(pair_ratio * query_rois))


def top_pairs(
    query: np.ndarray,
    key: np.ndarray,
    pair_ratio: float,
    min_similarity: float = -1.0,
    bonus: np.ndarray | None = None,
) -> Pairs:
    """Keep the largest entries of the similarity matrix M = Q K^T of two images' RoIs (Sec. 3.2).

    query: float32 [B_q, D], key: float32 [B_k, D], rows L2-normalised. A RoI may occur in several pairs.
    bonus: float32 [B_q, B_k], added to M to choose and order the pairs (not in the paper); they are measured, and
    held against min_similarity, by M alone.
    Equal entries are taken in row-major order, so that the result never depends on the sort.
    """
    matrix = query.astype(np.float32, copy=False) @ key.astype(np.float32, copy=False).T
    flat = matrix.ravel()
    allowed = np.flatnonzero(flat >= min_similarity)
    worth = (flat if bonus is None else flat + bonus.astype(np.float32, copy=False).ravel())[allowed]
    count = min(pair_count(pair_ratio, len(query)), flat.size, allowed.size)
    if count:
        at_least = np.flatnonzero(worth >= np.partition(worth, worth.size - count)[worth.size - count])
        best = allowed[at_least[np.argsort(-worth[at_least], kind="stable")][:count]]
    else:
        best = allowed
    rows, columns = np.unravel_index(best, matrix.shape)
    others = matrix[rows]
    others[np.arange(len(rows)), columns] = -np.inf
    runner_up = others.max(axis=1)
    margin = np.where(np.isfinite(runner_up), flat[best] - runner_up, np.float32(np.nan))
    return Pairs(rows, columns, flat[best], margin, flat[best] >= matrix[:, columns].max(axis=0))


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
        similarity, rows = index.search(queries, min(k + 2, len(ids)))
        for offset in range(len(queries)):
            itself, row, value = start + offset, rows[offset], similarity[offset]
            # A tie cut off in the middle holds arbitrary members; look further until it is whole.
            while len(row) < len(ids) and value[-1] == value[row != itself][k - 1]:
                wider = index.search(queries[offset : offset + 1], min(2 * len(row), len(ids)))
                value, row = wider[0][0], wider[1][0]
            other = row != itself
            row, value = row[other], value[other]
            order = np.lexsort((row, -value))[:k]
            found_ids[itself] = ids[row[order]]
            found_similarity[itself] = value[order]
    return Neighbors(found_ids, np.clip(found_similarity, -1.0, 1.0))


def nearest_to(features: np.ndarray, ids: np.ndarray, image_id: int, k: int) -> Neighbors:
    """The K nearest other images of one image, as ``nearest_neighbors`` finds them for all.

    Returns ids int64 [k'] and similarity float32 [k'], best first, k' = min(k, n - 1).
    """
    here = int(np.searchsorted(ids, image_id))
    similarity = features @ features[here]
    order = np.lexsort((np.arange(len(ids)), -similarity))
    order = order[order != here][:k]
    return Neighbors(ids[order], np.clip(similarity[order], -1.0, 1.0))
