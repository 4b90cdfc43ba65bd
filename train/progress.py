"""How a stage tells what it is doing, and learns that it should stop."""

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
    """A person asked the run to stop; everything up to here is kept."""


class Progress:
    """The silent one, for calls from Python; runs replace it by one that writes to the store."""

    def phase(self, name: str, total: int) -> None:
        """A new part of the work begins, of ``total`` items."""

    def advance(self, count: int = 1) -> None:
        """Some items are done. Raises Stopped when a stop was asked for."""

    def check(self) -> None:
        """Nothing new is done. Raises Stopped when a stop was asked for."""

    def log(self, message: str) -> None:
        """A line for a person to read."""

    def metric(self, step: int, values: dict[str, float]) -> None:
        """Numbers at a step."""


@contextmanager
def timed(progress: Progress, name: str, count: int) -> Iterator[None]:
    """Tell how many of ``count`` items were done in a second, once all are."""
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
    """Results in the order of the items, with at most ``ahead`` of them under way: memory stays flat.

    check: called about five times a second while a result is waited for; what it raises ends the waiting.
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
