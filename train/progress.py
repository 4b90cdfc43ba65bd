"""Progress reports of a stage, and requests to stop it."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

PATIENCE = 0.2  # seconds
TRAINING = "Training"  # the phase of a run that counts steps; others count photos, files or the like

T = TypeVar("T")
R = TypeVar("R")


class Stopped(Exception):
    """Raised when a user stops the run. Everything done so far is kept."""


class Progress:
    """Progress that is discarded, for calls from Python. Runs use a subclass that writes to the store."""

    def phase(self, name: str, total: int) -> None:
        """Start a new phase of ``total`` items."""

    def advance(self, count: int = 1) -> None:
        """Report finished items. Raises Stopped if a stop was requested."""

    def check(self) -> None:
        """Raise Stopped if a stop was requested."""

    def log(self, message: str) -> None:
        """Write a line to the log."""

    def metric(self, step: int, values: dict[str, float]) -> None:
        """Report numbers at a step."""


class Within(Progress):
    """Progress of the parts of a phase, which has no phases itself. Each report of a metric is a step of its own."""

    def __init__(self, outer: Progress) -> None:
        self._outer, self._abandoned, self._reported = outer, threading.Event(), Counter[str]()

    def abandon(self) -> None:
        """End work that still runs in another thread, by ``Stopped``."""
        self._abandoned.set()

    def advance(self, count: int = 1) -> None:
        self.check()

    def check(self) -> None:
        if self._abandoned.is_set():
            raise Stopped
        self._outer.check()

    def log(self, message: str) -> None:
        self._outer.log(message)

    def metric(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._outer.metric(self._reported[name], {name: value})
            self._reported[name] += 1


@contextmanager
def timed(progress: Progress, name: str, count: int) -> Iterator[None]:
    """Report the number of items per second as a metric at the end of the block."""
    begun = time.monotonic()
    yield
    if count:
        progress.metric(0, {name: count / max(time.monotonic() - begun, 1e-3)})


def map_ahead(
    executor: Executor,
    work: Callable[[T], R],
    items: Iterable[T],
    ahead: int,
    check: Callable[[], object] = lambda: None,
) -> Iterator[R]:
    """Yield results in the order of the items, with at most ``ahead`` of them in progress, to limit memory.

    check: called about five times per second while waiting for a result; an exception from it ends the wait.
    """
    source = iter(items)
    pending = deque(executor.submit(work, item) for item in islice(source, ahead))
    try:
        while pending:
            while not wait(list(pending)[:1], PATIENCE).done:
                check()
            result = pending.popleft().result()
            pending.extend(executor.submit(work, item) for item in islice(source, 1))
            yield result
    finally:
        for future in pending:
            future.cancel()


def one_ahead(items: Iterable[T]) -> Generator[T]:
    """Yield the items, and compute the next one in a thread meanwhile."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, source, end)
            yield item  # type: ignore[misc]  # not the end
