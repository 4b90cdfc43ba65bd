"""Pools of helper processes. They import the module that starts them, so those modules import no torch."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from orl_explorer.train.errors import UserError


@contextmanager
def helpers(count: int, prepare: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Start ``count`` processes that each call ``prepare`` first. If the block raises, they are killed at once.

    Raises UserError if a process was killed from outside.
    """
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(prepare,))
    try:
        yield pool
    except BaseException as problem:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        if isinstance(problem, BrokenProcessPool):
            raise UserError(
                "A helper process was killed, probably because memory ran out. Resume the run, or start another with "
                "fewer workers."
            ) from problem
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(prepare: Callable[[], object] | None) -> None:
    for asked in (signal.SIGINT, signal.SIGTERM):  # a stop signals all processes of a run; the main one handles it
        signal.signal(asked, signal.SIG_IGN)
    if prepare is not None:
        prepare()
