"""Nearest-neighbour images and the most similar RoI pairs between them (Sec. 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

COVERS = 0.05  # least share of a photo that a RoI has to add to the area of its pairs
Alike = tuple[np.ndarray, np.ndarray]  # which RoIs of two images are nearly the same, bool [B_q, B_q], [B_k, B_k]


@dataclass(frozen=True)
class Pairs:
    """Matched RoIs of a query image and one neighbour, best first.

    query, key: int64 [n], indices into the two images' RoIs. similarity: float32 [n], cosine.
    margin: float32 [n], similarity minus that of the query RoI's next best key in the neighbour (negative if another
    key is more similar, NaN if there is no other).
    cycle: bool [n], whether the key's nearest RoI in the query image is the query RoI.
    """

    query: np.ndarray
    key: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    cycle: np.ndarray

    def __len__(self) -> int:
        return len(self.query)


def pair_count(pair_ratio: float, query_rois: int) -> int:
    """Return the number of pairs per neighbour, ``max(1, int(N * B_q))``: N is a share of the query's RoIs."""
    return max(1, int(pair_ratio * query_rois))


def top_pairs(
    query: np.ndarray,
    key: np.ndarray,
    pair_ratio: float,
    min_similarity: float = -1.0,
    bonus: np.ndarray | None = None,
    *,
    min_worth: float = -np.inf,
    consistent_only: bool = False,
    alike: Alike | None = None,
    cells: np.ndarray | None = None,
) -> Pairs:
    """Keep the largest entries of the similarity matrix M = Q K^T of two images' RoIs (Sec. 3.2).

    query: float32 [B_q, D], key: float32 [B_k, D], rows L2-normalised. A RoI may occur in several pairs.
    bonus: float32 [B_q, B_k], added to M to choose and order the pairs (not in the paper). Similarity, margin, cycle
    and the comparison with min_similarity use M alone.
    min_worth: the least sum of an entry of M and its bonus (not in the paper).
    consistent_only: keep only pairs whose key has the query RoI as its most similar one (``Pairs.cycle``; not in the
    paper). Others are left out before the best are chosen, so that they take no place.
    alike: the RoIs of each image that are nearly the same. Of two pairs whose RoIs are alike in both images, only the
    better one is kept, and takes one place (not in the paper).
    cells: bool [B_q, n], the cells of the query image that each RoI covers. After the largest entries, further ones are
    kept until no RoI adds a share of ``COVERS`` of the cells to those of the pairs: each time the largest entry of the
    RoI that adds most, even if it is less than min_worth (not in the paper).
    Equal entries are ordered row by row, so that the result does not depend on the sort.
    """
    matrix = cosines(query, key)
    rules: dict[str, Any] = {"min_worth": min_worth, "consistent_only": consistent_only, "alike": alike, "cells": cells}
    return largest(matrix, pair_ratio, min_similarity, bonus, **rules)


def cosines(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return M = Q K^T: float32 [B_q, B_k]. query: float32 [B_q, D], key: float32 [B_k, D], rows L2-normalised."""
    return query.astype(np.float32, copy=False) @ key.astype(np.float32, copy=False).T


def largest(
    matrix: np.ndarray,
    pair_ratio: float,
    min_similarity: float = -1.0,
    bonus: np.ndarray | None = None,
    *,
    min_worth: float = -np.inf,
    consistent_only: bool = False,
    alike: Alike | None = None,
    cells: np.ndarray | None = None,
) -> Pairs:
    """Return the ``top_pairs`` of two images from their cosines, float32 [B_q, B_k]."""
    flat, count = matrix.ravel(), pair_count(pair_ratio, len(matrix))
    allowed = np.arange(flat.size) if flat.min() >= min_similarity else np.flatnonzero(flat >= min_similarity)
    if consistent_only:
        allowed = allowed[(matrix >= matrix.max(axis=0)).ravel()[allowed]]
    worth = (flat if bonus is None else flat + bonus.astype(np.float32, copy=False).ravel())[allowed]
    enough = worth >= min_worth
    if alike is None:
        best = _best(allowed[enough], worth[enough], count)
    else:
        best = _best_unlike(_spread(matrix.shape, allowed[enough], worth[enough]), count, alike)
    if cells is not None:
        best = np.append(best, _covering(_spread(matrix.shape, allowed, worth), best, cells, alike))
    return _measured(matrix, *np.unravel_index(best, matrix.shape))


def _best(allowed: np.ndarray, worth: np.ndarray, count: int) -> np.ndarray:
    """Return those of the allowed entries that are worth most, best first, int64 [n]."""
    count = min(count, allowed.size)
    if not count:
        return allowed[:0]
    at_least = np.flatnonzero(worth >= np.partition(worth, worth.size - count)[worth.size - count])
    return allowed[at_least[np.argsort(-worth[at_least], kind="stable")][:count]]


def _spread(shape: tuple[int, ...], allowed: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Return a matrix of what entries are worth, float32, -inf where they are not allowed."""
    matrix = np.full(shape, -np.inf, np.float32)
    matrix.ravel()[allowed] = worth
    return matrix


def _take(left: np.ndarray, here: int, alike: Alike | None) -> None:
    """Strike an entry out of a matrix, with those that are like it."""
    row, column = divmod(here, left.shape[1])
    if alike is not None:
        left[alike[0][row][:, None] & alike[1][column]] = -np.inf
    left[row, column] = -np.inf


def _best_unlike(left: np.ndarray, count: int, alike: Alike) -> np.ndarray:
    """Return the best entries, greedily, without those that are like a better one, int64 [n]. left: is changed."""
    best: list[int] = []
    while len(best) < count:
        here = int(left.argmax())
        if left.flat[here] == -np.inf:
            break
        best.append(here)
        _take(left, here, alike)
    return np.array(best, np.int64)


def _covering(left: np.ndarray, best: np.ndarray, cells: np.ndarray, alike: Alike | None) -> np.ndarray:
    """Return the entries by which more cells are covered than by the best ones, int64 [n]. left: is changed."""
    for here in best.tolist():
        _take(left, here, alike)
    covered = cells[best // left.shape[1]].any(axis=0)
    found: list[int] = []
    while True:
        added = np.where(left.max(axis=1) > -np.inf, (cells & ~covered).mean(axis=1), 0.0)
        row = int(added.argmax())
        if added[row] < COVERS:
            return np.array(found, np.int64)
        found.append(row * left.shape[1] + int(left[row].argmax()))
        covered |= cells[row]
        _take(left, found[-1], alike)


def measure_pairs(query: np.ndarray, key: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Pairs:
    """Measure given pairs, in their order.

    query: float32 [B_q, D], key: float32 [B_k, D], rows L2-normalised. rows, columns: int [n], indices into the two.
    """
    return _measured(cosines(query, key), np.asarray(rows, np.int64), np.asarray(columns, np.int64))


def _measured(matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Pairs:
    chosen = matrix[rows, columns]
    others = matrix[rows]
    others[np.arange(len(rows)), columns] = -np.inf
    runner_up = others.max(axis=1)
    margin = np.where(np.isfinite(runner_up), chosen - runner_up, np.float32(np.nan))
    return Pairs(rows, columns, chosen, margin, chosen >= matrix[:, columns].max(axis=0))


@dataclass(frozen=True)
class Neighbors:
    """K nearest images of each image: ids int64 [n, K] and cosine similarity float32 [n, K], best first."""

    ids: np.ndarray
    similarity: np.ndarray


class Rows(Protocol):
    """Features [n, D], possibly on disk: some of them are an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """n and D."""

    def __getitem__(self, part: slice | np.ndarray, /) -> np.ndarray:
        """Return some rows, float [m, D]. part: a slice, or int64 [m]."""


def nearest_neighbors(
    features: Rows, ids: np.ndarray, k: int, *, standing: np.ndarray | None = None, block: int = 8192
) -> Neighbors:
    """Find the K most similar other images of every image, exactly, with two blocks of features in memory.

    features: float [n, D], rows L2-normalised. ids: int64 [n], ascending. k: 1..n-1.
    An image is excluded from its own neighbours by id, so duplicate photos are neighbours of one another, unless
    ``standing`` is given: int64 [n], the row of the image that stands for an image's group of near-duplicates, or its
    own. Then only those that stand for a group are neighbours, and never of their own group; k is at most their number
    less one. Equal similarities are ordered by id. Raises ValueError if k is too large.
    """
    count = len(ids)
    among = np.arange(count) if standing is None else np.unique(standing)
    refuse_few(len(among), k)
    best = BestFound.of(count, k)
    own = np.arange(count) if standing is None else np.searchsorted(among, standing)
    compare_with_all(best, features, np.arange(count), block, among=among, own=own)
    return best.neighbors(ids[among])


def refuse_few(count: int, k: int) -> None:
    """Raise ValueError if ``count`` images have no K neighbours."""
    if not 1 <= k < count:
        raise ValueError(f"K = {k} neighbours need at least {k + 1} images. There are {count}.")


@dataclass(frozen=True)
class BestFound:
    """The best found so far for each of n images: rows int64 [n, k], n if there is none, and similarity float32 [n, k].

    Equal similarities are ordered by row.
    """

    rows: np.ndarray
    similarity: np.ndarray

    @classmethod
    def of(cls, count: int, k: int) -> BestFound:
        """Return the best of n images before anything was found."""
        return cls(np.full((count, k), count), np.full((count, k), -np.inf, np.float32))

    def take(self, queries: np.ndarray, rows: np.ndarray, similarity: np.ndarray) -> None:
        """Add what was found for some queries, int64 [m]: rows int64 [m, k], similarity float32 [m, k]."""
        rows = np.concatenate([self.rows[queries], rows], axis=1)
        similarity = np.concatenate([self.similarity[queries], similarity], axis=1)
        self.rows[queries], self.similarity[queries] = _first(rows, similarity, self.rows.shape[1])

    def neighbors(self, ids: np.ndarray) -> Neighbors:
        """Return the neighbours by id. ids: int64 [n]."""
        return Neighbors(ids[self.rows], np.clip(self.similarity, -1.0, 1.0))


def compare_with_all(
    best: BestFound,
    features: Rows,
    queries: np.ndarray,
    block: int,
    *,
    among: np.ndarray | None = None,
    own: np.ndarray | None = None,
) -> None:
    """Find the exact best of some images among all, with two blocks of features in memory. queries: int64 [m].

    among: int64 [a], the images that may be found, ascending; what is found are places in this array. own: int64 [n],
    the place that an image does not find, itself by default.
    """
    everyone = np.arange(features.shape[0])
    among, own = everyone if among is None else among, everyone if own is None else own
    for start in range(0, len(among), block):
        index = flat_index(features[among[start : start + block]])
        for first in range(0, len(queries), block):
            some = queries[first : first + block]
            best.take(some, *nearest_within(index, start, _single(features[some]), own[some], best.rows.shape[1]))


def flat_index(features: np.ndarray) -> Any:
    """Return FAISS's exact index of float [m, D], by inner product."""
    import faiss  # here, because the explorer needs only top_pairs and should start fast

    index = faiss.IndexFlatIP(features.shape[1])
    index.add(_single(features))
    return index


def _single(features: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(features, dtype=np.float32)


def nearest_within(
    index: Any, start: int, queries: np.ndarray, themselves: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows int64 [m, k] and similarities float32 [m, k] of the k best in an index, without the queries.

    start: row of the index's first entry. themselves: int64 [m], rows of the queries. If the index has fewer,
    the rest is -inf.
    """
    size = index.ntotal
    values, rows = index.search(queries, min(k + 2, size))
    rows += start
    values[rows == themselves[:, None]] = -np.inf
    rows, values = _padded(rows, values, k)
    listed = np.sort(values, axis=1)[:, ::-1]
    # The last listed may be one of several equal ones, of which some were cut off: search further for those.
    last = np.where(np.isinf(listed[:, -1]), listed[:, -2], listed[:, -1])
    tied = np.flatnonzero(last == listed[:, k - 1]) if k + 2 < size else np.empty(0, np.int64)
    wider = {int(one): _whole_tie(index, start, queries[one], int(themselves[one]), k) for one in tied}
    rows, values = _first(rows, values, k)
    for one, (its_rows, its_values) in wider.items():
        rows[one], values[one] = its_rows, its_values
    return rows, values


def _whole_tie(index: Any, start: int, query: np.ndarray, itself: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    size, wanted = index.ntotal, 2 * (k + 2)
    while True:
        values, rows = index.search(query[None], min(wanted, size))
        values[rows + start == itself] = -np.inf
        listed = np.sort(values[0])[::-1]
        if wanted >= size or listed[-2] < listed[k - 1]:  # the last may be the query itself
            rows, values = _first(rows + start, values, k)
            return rows[0], values[0]
        wanted *= 2


def _padded(rows: np.ndarray, values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    more = max(0, k + 2 - rows.shape[1])
    wide = ((0, 0), (0, more))
    return np.pad(rows, wide, constant_values=np.iinfo(np.int64).max), np.pad(values, wide, constant_values=-np.inf)


def _first(rows: np.ndarray, values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of each list, equal ones ordered by row."""
    order = np.lexsort((rows, -values), axis=-1)[:, :k]
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)


def nearest_to(
    features: np.ndarray, ids: np.ndarray, image_id: int, k: int, own: np.ndarray | None = None
) -> Neighbors:
    """Return the K nearest other images of one image, as ``nearest_neighbors`` does for all.

    own: its features, float32 [D], if it is not one of the n images. Returns ids int64 [k'] and similarity float32
    [k'], best first, where k' is k or the number of other images.
    """
    similarity = features @ (features[int(np.searchsorted(ids, image_id))] if own is None else own)
    order = np.lexsort((np.arange(len(ids)), -similarity))
    order = order[ids[order] != image_id][:k]
    return Neighbors(ids[order], np.clip(similarity[order], -1.0, 1.0))
