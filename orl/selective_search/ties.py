"""Whether the order of equally heavy edges decides which small regions merge.

``std::sort`` permutes equal edges. That has an effect only if two of them share a small region: an edge between two
large regions merges nothing, and edges without a common small region do not affect each other.
"""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.selective_search.compiled import Int, jit
from orl_explorer.orl.selective_search.edges import first_end, second_end

MOST = 256  # equal edges between regions that are looked at; more count as a tie
TRIED = 6  # edges of which every order is tried; more count as a tie


@jit
def root(parent: np.ndarray, p: Int) -> Int:
    """Return the root of a pixel's region, and shorten the way to it."""
    while parent[p] != p:
        parent[p] = parent[parent[p]]
        p = parent[p]
    return p


@jit
def order_matters(edges: np.ndarray, width: Int, min_size: Int, parent: np.ndarray, size: np.ndarray) -> bool:
    """Return whether the order of edges, all of one weight, decides which small regions merge; True if in doubt."""
    ends = np.empty((min(len(edges), MOST), 2), np.int32)
    count = 0
    for edge in edges:
        p, q = root(parent, first_end(edge)), root(parent, second_end(edge, width))
        if p == q or (size[p] >= min_size and size[q] >= min_size):
            continue
        p, q = min(p, q), max(p, q)
        if _contains(ends[:count], p, q):
            continue
        if count == MOST:
            return True
        ends[count, 0], ends[count, 1] = p, q
        count += 1
    cluster = _clusters(ends[:count], size, min_size)
    together = np.empty((TRIED, 2), np.int32)
    for c in range(count):
        found = 0
        for e in range(count):
            if cluster[e] == c:
                if found == TRIED:
                    return True
                together[found] = ends[e]
                found += 1
        if found > 1 and _orders_differ(together[:found], size, min_size):
            return True
    return False


@jit
def _contains(ends: np.ndarray, p: Int, q: Int) -> bool:
    for e in range(len(ends)):  # noqa: SIM110 - the compiler has no any()
        if ends[e, 0] == p and ends[e, 1] == q:
            return True
    return False


@jit
def _clusters(ends: np.ndarray, size: np.ndarray, min_size: Int) -> np.ndarray:
    """Return a number for each edge, the same for edges that a chain of common small regions connects."""
    cluster = np.arange(len(ends))
    for e in range(len(ends)):
        for f in range(e):
            if cluster[e] == cluster[f]:
                continue
            for s in range(2):
                region = ends[e, s]
                if size[region] < min_size and (region == ends[f, 0] or region == ends[f, 1]):
                    old, new = cluster[e], cluster[f]
                    for g in range(len(ends)):
                        if cluster[g] == old:
                            cluster[g] = new
    return cluster


@jit
def _orders_differ(ends: np.ndarray, size: np.ndarray, min_size: Int) -> bool:
    """Return whether two orders of at most TRIED edges merge different regions. Tries every order."""
    edges, count = len(ends), 0
    regions, at = np.empty(2 * TRIED, np.int32), np.empty((TRIED, 2), np.int64)
    for e in range(edges):
        for s in range(2):
            r = 0
            while r < count and regions[r] != ends[e, s]:
                r += 1
            regions[r], at[e, s] = ends[e, s], r
            count = max(count, r + 1)
    name, first, pixels = np.empty(2 * TRIED, np.int64), np.empty(2 * TRIED, np.int64), np.empty(2 * TRIED, np.int64)
    left = np.empty(TRIED, np.int64)
    orders = 1
    for e in range(edges):
        orders *= e + 1
    for order in range(orders):
        for r in range(count):
            name[r], pixels[r] = r, size[regions[r]]
        for e in range(edges):
            left[e] = e
        code = order
        for remaining in range(edges, 0, -1):  # the digits of the order's number tell which edge comes next
            digit = code % remaining
            code //= remaining
            e = left[digit]
            for later in range(digit, remaining - 1):
                left[later] = left[later + 1]
            p, q = name[at[e, 0]], name[at[e, 1]]
            if p != q and (pixels[p] < min_size or pixels[q] < min_size):
                kept, gone = min(p, q), max(p, q)
                pixels[kept] += pixels[gone]
                for r in range(count):
                    if name[r] == gone:
                        name[r] = kept
        for r in range(count):
            if order == 0:
                first[r] = name[r]
            elif first[r] != name[r]:
                return True
    return False
