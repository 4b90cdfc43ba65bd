"""Where the work of mining is done: selective search and forward passes here, or on the machines of a Ray cluster.

Whatever the place, its results are stored by the process of the run, which alone writes the store and the features.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image

from orl_explorer.orl.pixels import read_image
from orl_explorer.train.mining.features import Features, finite
from orl_explorer.train.mining.forward import Batch, FeatureOf, Shot, passes
from orl_explorer.train.mining.propose import Search, propose_all
from orl_explorer.train.progress import Progress


class WorkPlace(ABC):
    """Does selective search and forward passes. What it computes does not depend on where it is."""

    @abstractmethod
    def search(self, jobs: Iterable[Search], count: int, progress: Progress) -> Generator[np.ndarray | str]:
        """Yield raw boxes int16 [M, 4] of ``count`` photos in the order of the jobs, or why one cannot be read.

        All jobs have one scale. Raises Stopped, UserError.
        """

    @abstractmethod
    def rows(
        self, view: FeatureOf, features: Features, shots: Iterable[Shot], lost: dict[int, str], progress: Progress
    ) -> Iterator[Batch]:
        """Yield the rows of photos, in any order.

        lost: gets the reasons why photos could not be read, by image id. Raises Stopped, UserError.
        """

    @abstractmethod
    def overlaps(self, features: Features) -> bool:
        """Return whether photos can be searched while others are embedded, without slowing either down."""

    def embed(
        self, view: FeatureOf, features: Features, shots: Iterable[Shot], lost: dict[int, str], progress: Progress
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield keys int64 [n] and vectors float32 [n, D] of photos, and report them when the next are asked for.

        lost: as of ``rows``. Raises UserError also if a feature is not finite.
        """
        for batch in self.rows(view, features, shots, lost, progress):
            yield batch.keys, finite(batch.vectors, batch.paths, features.name)
            progress.advance(len(batch.keys))


class Here(WorkPlace):
    """This machine: selective search in threads or processes, and forward passes in this process."""

    def __init__(self, workers: int | None = None) -> None:
        """Choose the number of processes for selective search, by default one per core."""
        self._workers = workers or os.cpu_count() or 1

    def search(self, jobs: Iterable[Search], count: int, progress: Progress) -> Generator[np.ndarray | str]:
        return propose_all(jobs, count, self._workers, progress)

    def rows(
        self, view: FeatureOf, features: Features, shots: Iterable[Shot], lost: dict[int, str], progress: Progress
    ) -> Iterator[Batch]:
        def network():  # type: ignore[no-untyped-def]  # its type imports torch
            return features.encoder

        def read(shot: Shot) -> PIL.Image.Image:
            return read_image(Path(shot.file), shot.stamp)

        return passes(view, network, features.reading, features.batch, shots, read, lost)

    def overlaps(self, features: Features) -> bool:
        """An accelerator works beside the processor. On the processor alone, both would only take turns."""
        return features.on_accelerator


@contextmanager
def working(
    on_cluster: bool = False, workers: int | None = None, progress: Progress | None = None
) -> Iterator[WorkPlace]:
    """Yield where mining does its work.

    on_cluster: whether that is the Ray cluster of which this process is a job, else it is this machine. workers:
    processes for selective search here. Raises UserError.
    """
    if not on_cluster:
        yield Here(workers)
        return
    from orl_explorer.train.mining.on_ray import on_ray

    with on_ray(progress or Progress()) as place:
        yield place
