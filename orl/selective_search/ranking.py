"""The order of all boxes (Uijlings et al., IJCV 2013, Sec. 3.3).

A region of level i, the i-th from its first regions on, has the rank i * RND, where RND is a random number in [0, 1].
OpenCV takes it from the C library. ``glibc_rand`` is the one of glibc, so boxes have the same order everywhere.
"""

from __future__ import annotations

import numpy as np

from orl_explorer.orl.selective_search.compiled import Int, jit
from orl_explorer.orl.selective_search.introsort import introsort

RAND_MAX = 2147483647
_DROPPED = 310  # numbers, before the first that is given


@jit
def glibc_rand(seed: Int, count: Int) -> np.ndarray:
    """Return the first numbers of glibc's ``rand`` after ``srand(seed)``, int32 [count]. seed: 32 bits, unsigned."""
    state = np.empty(34 + _DROPPED + count, np.uint32)
    word = np.int64(np.int32(np.uint32(seed))) if seed else np.int64(1)
    state[0] = np.uint32(word & 0xFFFFFFFF)
    for i in range(1, 31):  # 16807 * word modulo RAND_MAX, without overflow, by C's division towards zero
        quotient = -(-word // 127773) if word < 0 else word // 127773
        word = 16807 * (word - quotient * 127773) - 2836 * quotient
        if word < 0:
            word += RAND_MAX
        state[i] = np.uint32(word)
    for i in range(31, 34):
        state[i] = state[i - 31]
    for i in range(34, len(state)):
        state[i] = state[i - 31] + state[i - 3]
    given = np.empty(count, np.int32)
    for i in range(count):
        given[i] = np.int32(state[34 + _DROPPED + i] >> np.uint32(1))
    return given


@jit
def rank_order(level: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Return the order of regions by rank, int64 [N]. level: int64 [N]. random: int32 [N]."""
    rank, order = np.empty(len(level), np.float64), np.empty(len(level), np.int64)
    for i in range(len(level)):
        rank[i] = np.float64(random[i]) / RAND_MAX * level[i]
        order[i] = i
    introsort(order, len(order), rank)
    return order
