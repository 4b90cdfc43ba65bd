"""Selective search over many photos, in worker processes: its ranking comes from libc's ``rand``, one per process.

Spawned processes import this module, so it stays free of torch.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from orl_explorer.orl.pixels import Stamp, UnreadableImage, read_image
from orl_explorer.orl.proposals import selective_search
from orl_explorer.train.progress import map_ahead

Job = tuple[str, Stamp | None, int, float]  # file, by what it is known again, seed, scale


def propose(job: Job) -> np.ndarray | str:
    """Raw boxes int16 [M, 4] of one photo, or the reason why it cannot be read."""
    file, stamp, seed, scale = job
    try:
        image = np.asarray(read_image(Path(file), stamp))
    except UnreadableImage as error:
        return str(error)
    return selective_search(image, seed, scale)


def propose_all(jobs: Iterable[Job], workers: int) -> Iterator[np.ndarray | str]:
    """Raw boxes of many photos, in the order of the jobs, whatever the number of workers."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare)
    try:
        yield from map_ahead(pool, propose, jobs, ahead=4 * workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare() -> None:
    cv2.setNumThreads(1)  # as many processes as cores already
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
