"""Finished parts of an evaluation, which a resumed run does not repeat, and the processes that compute them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

from orl_explorer.train.pools import helpers
from orl_explorer.train.progress import Progress, map_ahead

T = TypeVar("T")
R = TypeVar("R")


PARTS_FILE = "parts.jsonl"  # in the folder of the run


def forget_parts(folder: Path) -> None:
    """Delete the finished parts of an evaluation."""
    (folder / PARTS_FILE).unlink(missing_ok=True)


class KeptParts:
    """Results by name, one line of JSON each, written to disk at once. An incomplete line is ignored."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PARTS_FILE
        self._found: dict[str, Any] = {}
        if self._path.is_file():
            whole = self._path.read_bytes()
            end = whole.rfind(b"\n") + 1
            if end < len(whole):  # else the next line would be appended to it
                os.truncate(self._path, end)
            for line in whole[:end].splitlines():
                name, value = json.loads(line)
                self._found[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> Any:
        return self._found[name]

    def add(self, name: str, value: Any) -> None:
        """Keep a result. Floats are read back exactly."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, value]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._found[name] = value


def in_processes(work: Callable[[T], R], jobs: Iterable[T], workers: int, progress: Progress) -> Generator[R]:
    """Yield the results in the order of the jobs, computed by other processes, or by this one if workers is 0.

    work: a function. Each process imports its module, which should not import torch.
    """
    if not workers:
        yield from map(work, jobs)
        return
    with helpers(workers) as pool:
        yield from map_ahead(pool, work, jobs, 2 * workers, progress.check)
