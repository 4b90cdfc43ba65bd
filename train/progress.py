"""Progress reports of a stage, and requests to stop it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

PATIENCE = 0.2  # seconds

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
