"""Selective search over many photos, in processes, since each has its own state of libc's ``rand``.

Spawned processes import this module, so it stays free of torch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import cv2
import numpy as np

from orl_explorer.orl.pixels import Stamp, UnreadableImage, read_image
from orl_explorer.orl.proposals import selective_search
from orl_explorer.train.pools import helpers
from orl_explorer.train.progress import Progress, map_ahead

_Search = tuple[str, Stamp | None, int, float]  # file, its stamp, seed, scale


def propose_photo(job: _Search) -> np.ndarray | str:
    """Return raw boxes int16 [M, 4] of one photo, or the reason why it cannot be read."""
    file, stamp, seed, scale = job
    try:
        image = np.asarray(read_image(Path(file), stamp))
    except UnreadableImage as error:
        return str(error)
    return selective_search(image, seed, scale)


def propose_all(jobs: Iterable[_Search], workers: int, progress: Progress) -> Generator[np.ndarray | str]:
    """Yield raw boxes of many photos in the order of the jobs, for any number of workers. Raises Stopped, UserError."""
    with helpers(workers, _one_thread) as pool:
        yield from map_ahead(pool, propose_photo, jobs, 4 * workers, progress.check)


def _one_thread() -> None:
    cv2.setNumThreads(1)  # there is a process per core already
