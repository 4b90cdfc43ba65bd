"""What runs in the workers of a Ray cluster: selective search of some photos, and an encoder's passes.

This module imports neither ray nor, until an encoder is built, torch.

A worker reads a photo where it is. If it cannot, it says so, and gets the content of the file.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import PIL.Image
from filelock import FileLock

from orl_explorer.orl.pixels import read_image
from orl_explorer.orl.reading import PLAIN
from orl_explorer.orl.selective_search.readiness import can_compile, is_compiled
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import module_command, without_secrets
from orl_explorer.train.mining.forward import FeatureOf, Shot, crops_at_once, passes
from orl_explorer.train.mining.propose import Search, propose_photo
from orl_explorer.train.settings import Precision

if TYPE_CHECKING:
    from orl_explorer.train.encoders.state_dicts import Weights

SPINS = "3000"  # turns of a waiting thread before it sleeps, as of the process of a run: others need the core
Contents = Mapping[int, bytes]  # of files that a worker cannot read, by number of the job


class Unread(NamedTuple):
    """A photo that this worker cannot read, and why."""

    reason: str


class Embedded(NamedTuple):
    """Rows of some photos: keys int64 [n], vectors float32 [n, D], and the reasons why others could not be read."""

    keys: np.ndarray
    vectors: np.ndarray
    unread: dict[int, str]


# Selective search ----------------------------------------------------------------------------------------


def search_photos(jobs: Sequence[Search], contents: Contents, compiling: bool) -> list[np.ndarray | Unread]:
    """Return raw boxes int16 [M, 4] of photos. compiling: whether to compile the faster search if it is not there."""
    if compiling and not is_compiled():
        _compile()
    return [_searched(job, contents.get(number)) for number, job in enumerate(jobs)]


def _searched(job: Search, content: bytes | None) -> np.ndarray | Unread:
    with _file(job[0], content) as file:
        here: Search = (file, job[1] if content is None else None, *job[2:])
        found = propose_photo(here) if is_compiled() else _by_opencv(here)
    return Unread(found) if isinstance(found, str) else found


def _compile() -> None:
    """Compile the search in a process of its own; the other workers of this machine wait for it.

    The comparison with OpenCV's search needs libc's ``rand``, which the threads of a Ray worker use too.
    """
    with FileLock(Path(tempfile.gettempdir()) / f"orl-compiling-{os.getuid()}.lock"):
        if can_compile():
            command = module_command("orl_explorer.orl.selective_search.readiness")
            subprocess.run(command, env=without_secrets(os.environ), check=False)


def _by_opencv(job: Search) -> np.ndarray | str:
    """Search a photo in a process of its own, with one thread: OpenCV ranks by libc's ``rand``.

    In a Ray worker, other threads draw from it too, and some photos would get their boxes in another order.
    """
    helper = _helper()
    assert helper.stdin is not None
    assert helper.stdout is not None
    try:
        pickle.dump(job, helper.stdin)
        helper.stdin.flush()
        return pickle.load(helper.stdout)
    except (EOFError, BrokenPipeError) as error:
        _helper.cache_clear()
        raise UserError(
            f"The process that searched {job[0]} was killed, probably because memory ran out. Resume the run."
        ) from error


@cache
def _helper() -> subprocess.Popen[bytes]:
    """Start the process. It ends when this one does, however that ends: then its input is closed."""
    command = module_command("orl_explorer.train.mining.ray_work")
    return subprocess.Popen(command, env=without_secrets(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _help() -> None:
    """Search photos that are asked for on standard input, until it is closed."""
    cv2.setNumThreads(1)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(propose_photo(job), answers)
        answers.flush()


# Forward passes ------------------------------------------------------------------------------------------


class Embedder:
    """An encoder on one GPU, or on the cores of one machine. An actor of Ray."""

    def __init__(self, weights: Weights, precision: Precision, device: str) -> None:
        """Build the network. ``problem`` says if that failed: an actor that raises here dies without a sentence."""
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is imported
        from orl_explorer.train.encoders.weights import embedder

        self._batch, self._problem = crops_at_once(device, precision), ""
        self._reading = weights.reading or PLAIN
        self._encoder: Any = None
        try:
            self._encoder = embedder(weights, device, precision)
        except UserError as error:
            self._problem = str(error)

    def problem(self) -> str:
        """Return why the network cannot be used on this machine, "" if it can."""
        return self._problem

    def embed(self, view: FeatureOf, shots: Sequence[Shot], contents: Contents) -> Embedded:
        """Return the rows of photos."""
        number_of = {shot.image_id: number for number, shot in enumerate(shots)}

        def read(shot: Shot) -> PIL.Image.Image:
            content = contents.get(number_of[shot.image_id])
            with _file(shot.file, content) as file:
                return read_image(Path(file), shot.stamp if content is None else None)

        unread: dict[int, str] = {}
        found = list(passes(view, lambda: self._encoder, self._reading, self._batch, shots, read, unread))
        if not found:
            return Embedded(np.empty(0, np.int64), np.empty((0, 0), np.float32), unread)
        keys, vectors = (np.concatenate([batch[part] for batch in found]) for part in (0, 1))
        return Embedded(keys, vectors, unread)


@contextmanager
def _file(name: str, content: bytes | None) -> Iterator[str]:
    """Yield the name of a photo's file: its own, or that of a temporary file with the content that was sent."""
    if content is None:
        yield name
        return
    with tempfile.NamedTemporaryFile(prefix="orl-", suffix=Path(name).suffix) as file:
        file.write(content)
        file.flush()
        yield file.name


if __name__ == "__main__":
    _help()
