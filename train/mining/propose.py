"""Selective search over many photos: in threads if the compiled search is ready, else by OpenCV in processes.

OpenCV ranks by libc's ``rand``, which each process has to itself. If there are many photos, one process compiles while
others search, and threads go on when it is done: nobody waits for the compiler, and all find the same boxes.

Spawned processes import this module, so it stays free of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from orl_explorer.orl.pixels import Stamp, UnreadableImage, read_image
from orl_explorer.orl.selective_search.proposals import selective_search
from orl_explorer.orl.selective_search.readiness import can_compile, compile_search, is_compiled, why_not_compiled
from orl_explorer.train.pools import helpers
from orl_explorer.train.progress import Progress, map_ahead

MANY = 40  # photos of a worker at full scale, which OpenCV searches in more time than the compiler takes

Search = tuple[str, Stamp | None, int, float, int]  # file, its stamp, seed, scale, least size of first regions
T = TypeVar("T")


def propose_photo(job: Search) -> np.ndarray | str:
    """Return raw boxes int16 [M, 4] of one photo, or the reason why it cannot be read."""
    file, stamp, seed, scale, segment_size = job
    try:
        image = np.asarray(read_image(Path(file), stamp))
    except UnreadableImage as error:
        return str(error)
    return selective_search(image, seed, scale, segment_size)


def propose_all(jobs: Iterable[Search], count: int, workers: int, progress: Progress) -> Generator[np.ndarray | str]:
    """Yield raw boxes of ``count`` photos in the order of the jobs, for any number of workers.

    All jobs have one scale. Raises Stopped, UserError.
    """
    left, workers = iter(jobs), min(workers, max(1, count))
    if count and not is_compiled():
        first = next(left)
        left, scale = chain([first], left), first[3]
        many = count * scale**2 >= MANY * workers
        with helpers(workers, _one_thread) as pool, _compiling(many, progress) as done:
            yield from map_ahead(pool, propose_photo, _until(done, left), 4 * workers, progress.check)
    with _threads(workers) as pool:
        yield from map_ahead(pool, propose_photo, left, 4 * workers, progress.check)


class _Unneeded(Exception):
    """All photos were searched before the compiler was done."""


@contextmanager
def _compiling(many: bool, progress: Progress) -> Iterator[Callable[[], bool]]:
    """Compile the search in a process of its own if it pays and is possible. Yields whether it is ready by now."""
    if not (many and can_compile()):
        progress.log(f"Selective search runs by OpenCV{': ' if why_not_compiled() else '.'}{why_not_compiled()}")
        yield lambda: False
        return
    progress.log("Selective search runs by OpenCV until the faster search is compiled.")
    with suppress(_Unneeded), helpers(1) as pool:
        compiled = pool.submit(compile_search)
        yield lambda: compiled.done() and is_compiled()
        if not compiled.done():
            raise _Unneeded  # helpers are killed at once
        if problem := compiled.exception() or why_not_compiled():
            progress.log(f"The faster search was not compiled: {problem}")


def _until(done: Callable[[], bool], items: Iterator[T]) -> Iterator[T]:
    """Yield items until the work is done, and leave the others."""
    for item in items:
        yield item
        if done():
            return


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    before = cv2.getNumThreads()
    _one_thread()
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield pool
    finally:
        cv2.setNumThreads(before)


def _one_thread() -> None:
    cv2.setNumThreads(1)  # there is a process or a thread per core already
