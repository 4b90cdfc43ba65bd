"""Unit vectors as a byte for each of their principal components, by which the most similar of millions are found.

The products of the bytes with a query order the vectors nearly as their cosines do: the more components, the nearer.
Whoever needs the exact order compares the first of them again by the vectors themselves.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

COMPONENTS = 320
HEAD = 128  # components of every vector that are compared; the others only of the best by these
LEARNED_FROM = 50_000  # vectors
SEED = 0
STEPS = 127  # of a component to each side of the mean
AT_ONCE = 2**18  # numbers of a block; of larger ones, BLAS would share each product between threads


@dataclass(frozen=True)
class Components:
    """Principal components. mean: float32 [D]. axes: float32 [D, d]. scale: float32 [d], of a step along each."""

    mean: np.ndarray
    axes: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, sample: np.ndarray, count: int = COMPONENTS) -> Components:
        """Learn the components of float32 [n, D]. A step is as long as the sample's largest value needs."""
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = sample - mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        axes = np.ascontiguousarray(axes[:, ::-1][:, :count])
        largest = np.abs(centred @ axes).max(axis=0, initial=0)
        return cls(mean, axes, np.maximum(largest, 1e-9) / np.float32(STEPS))

    def codes(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors, float32 [n, D], as int8 [n, d]."""
        steps = (vectors - self.mean) @ self.axes / self.scale
        return np.rint(steps).clip(-STEPS, STEPS).astype(np.int8)

    def query(self, vector: np.ndarray) -> np.ndarray:
        """Return what codes are multiplied by, float32 [d], for a vector, float32 [D].

        The product is about the cosine, less a number that is the same for all codes.
        """
        return (vector @ self.axes) * self.scale


def rows_to_learn_from(count: int) -> np.ndarray:
    """Return which of so many vectors to learn components from: int64, ascending."""
    return np.sort(np.random.default_rng(SEED).permutation(count)[:LEARNED_FROM])


def products(codes: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the product of each row of codes, int8 [n, d], with a query, float32 [d]: float32 [n]."""
    count, wide = codes.shape
    block, found = max(1, AT_ONCE // max(1, wide)), np.empty(len(codes), np.float32)
    workers = max(1, min(os.cpu_count() or 1, -(-count // block)))

    def multiply(first: int) -> None:
        numbers = np.empty((block, wide), np.float32)
        for start in range(first * block, count, workers * block):
            here = slice(start, min(start + block, count))
            some = numbers[: here.stop - start]
            np.copyto(some, codes[here])
            np.dot(some, query, out=found[here])

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(multiply, range(workers)))
    return found
