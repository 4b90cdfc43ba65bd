"""Pools of helper processes, which import no torch: their modules do not. What is said when helpers fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import without_secrets

T = TypeVar("T")


class HelperLost(UserError):
    """A helper process was killed from outside."""


@contextmanager
def helpers(count: int, prepare: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Start ``count`` processes that each call ``prepare`` first. If the block raises, they are killed at once.

    Raises HelperLost if a process was killed from outside.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(prepare,))
    try:
        yield pool
    except BaseException as problem:
        for process in list((pool._processes or {}).values()):  # not all children: other threads have pools, too
            process.kill()
        if isinstance(problem, BrokenProcessPool):
            raise HelperLost(
                "A helper process was killed, probably because memory ran out. Resume the run, or start another with "
                "fewer workers."
            ) from problem
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def drawn_batches(batches: Iterable[T]) -> Iterator[T]:
    """Iterate over a DataLoader. What stops its processes is a UserError, without their traceback.

    The iterator is made at once, not with the first batch: that draws one of torch's random numbers.
    """
    with _said_plainly():
        drawn = iter(batches)
    return _drawn(drawn)


def _drawn(batches: Iterator[T]) -> Iterator[T]:
    with _said_plainly():
        yield from batches


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(str(error).rstrip().rpartition("UserError: ")[2]) from None
    except RuntimeError as error:
        if "shared memory" in str(error):
            raise UserError(
                "The processes that load photos have too little shared memory. Enlarge /dev/shm (of a container by "
                "--shm-size=2g) and resume the run, or start another with workers=0."
            ) from error
        if "DataLoader worker" in str(error):
            raise HelperLost(
                "A process that loads photos was killed, probably because memory ran out. Resume the run, or start "
                "another with fewer workers."
            ) from error
        raise


def _begin(prepare: Callable[[], object] | None) -> None:
    for asked in (signal.SIGINT, signal.SIGTERM):  # a stop signals all processes of a run; the main one handles it
        signal.signal(asked, signal.SIG_IGN)
    for secret in os.environ.keys() - without_secrets(os.environ).keys():
        del os.environ[secret]
    if prepare is not None:
        prepare()
