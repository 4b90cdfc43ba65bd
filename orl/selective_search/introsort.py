"""libstdc++'s ``std::sort``, which permutes equal elements in its own way.

OpenCV sorts by it. Where equally similar pairs or equally ranked regions meet, its order tells which comes first. It is
introsort (Musser 1997): quicksort by the median of three, heapsort below a depth, and insertion sort at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orl_explorer.orl.selective_search.compiled import Int, jit

SHORT = 16  # elements that are left to insertion sort


@jit
def introsort(order: np.ndarray, count: Int, key: np.ndarray) -> None:
    """Sort the indices ``order[:count]`` by their keys, float64, as ``std::sort`` would."""
    depth = np.int64(0)
    while count >> (depth + 1) > 0:
        depth += 1
    parts = np.empty((256, 3), np.int64)  # first, end, and depth that is left
    parts[0, 0], parts[0, 1], parts[0, 2] = 0, count, 2 * depth
    waiting = 1
    while waiting > 0:
        waiting -= 1
        first, end, depth = parts[waiting, 0], parts[waiting, 1], parts[waiting, 2]
        while end - first > SHORT:
            if depth == 0:
                _heapsort(order, first, end, key)
                break
            depth -= 1
            cut = _partition(order, first, end, key)
            # Both sides have no element in common, so which of them is sorted first does not matter.
            parts[waiting, 0], parts[waiting, 1], parts[waiting, 2] = cut, end, depth
            waiting += 1
            end = cut
    _insertion_sort(order, min(count, SHORT), key)
    for i in range(SHORT, count):
        _insert(order, i, key)


@jit
def _partition(order: np.ndarray, first: Int, end: Int, key: np.ndarray) -> Int:
    """Move elements below the median of three to the front. Returns where the others begin."""
    x, y, z = first + 1, first + (end - first) // 2, end - 1
    if key[order[x]] < key[order[y]]:
        median = y if key[order[y]] < key[order[z]] else (z if key[order[x]] < key[order[z]] else x)
    else:
        median = x if key[order[x]] < key[order[z]] else (z if key[order[y]] < key[order[z]] else y)
    order[first], order[median] = order[median], order[first]
    pivot = key[order[first]]
    low, high = first + 1, end
    while True:
        while key[order[low]] < pivot:
            low += 1
        high -= 1
        while pivot < key[order[high]]:
            high -= 1
        if low >= high:
            return low
        order[low], order[high] = order[high], order[low]
        low += 1


@jit
def _insertion_sort(order: np.ndarray, count: Int, key: np.ndarray) -> None:
    for i in range(1, count):
        value = order[i]
        if key[value] < key[order[0]]:
            for j in range(i, 0, -1):
                order[j] = order[j - 1]
            order[0] = value
        else:
            _insert(order, i, key)


@jit
def _insert(order: np.ndarray, i: Int, key: np.ndarray) -> None:
    """Insert the element at i among those before it, one of which is not above it."""
    value = order[i]
    while key[value] < key[order[i - 1]]:
        order[i] = order[i - 1]
        i -= 1
    order[i] = value


@jit
def _heapsort(order: np.ndarray, first: Int, end: Int, key: np.ndarray) -> None:
    count = end - first
    for parent in range((count - 2) // 2, -1, -1):
        _sift(order, first, parent, count, order[first + parent], key)
    for last in range(count - 1, 0, -1):
        value = order[first + last]
        order[first + last] = order[first]
        _sift(order, first, np.int64(0), last, value, key)


@jit
def _sift(order: np.ndarray, first: Int, hole: Int, count: Int, value: Any, key: np.ndarray) -> None:
    """Fill the hole of a heap: move it down to a leaf, and the value up from there."""
    top = child = hole
    while child < (count - 1) // 2:
        child = 2 * (child + 1)
        if key[order[first + child]] < key[order[first + child - 1]]:
            child -= 1
        order[first + hole] = order[first + child]
        hole = child
    if count % 2 == 0 and child == (count - 2) // 2:
        child = 2 * (child + 1)
        order[first + hole] = order[first + child - 1]
        hole = child - 1
    parent = (hole - 1) // 2
    while hole > top and key[order[first + parent]] < key[value]:
        order[first + hole] = order[first + parent]
        hole = parent
        parent = (hole - 1) // 2
    order[first + hole] = value
