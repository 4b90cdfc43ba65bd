"""Files of a cache that a page needs, made by a thread beside the pages, once for all who wait for them."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from orl_explorer.train.workspace import Workspace

MakingReport = Callable[[int, int], None]  # called with what is done, and its total


@dataclass
class Making:
    """Files that a thread of this process is making; ``error`` is the message if it fails."""

    done: int = 0
    total: int = 1
    error: str | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)

    def report(self, done: int, total: int) -> None:
        """Note how far the thread is."""
        self.done, self.total = done, max(1, total)


_MAKING: dict[Path, Making] = {}
_LOCK = threading.Lock()


def making(folder: Path, total: int, make: Callable[[MakingReport], str | None]) -> Making:
    """Return the thread that fills a folder. Start one if there is none, or one has ended without a failure.

    make: fills the folder, and returns the sentence of a failure or None.
    """
    with _LOCK:
        known = _MAKING.get(folder)
        if known is not None and (known.error is not None or known.thread.is_alive()):
            return known
        begun = _MAKING[folder] = Making(total=max(1, total))

        def run() -> None:
            begun.error = make(begun.report)

        begun.thread = threading.Thread(target=run, daemon=True, name=f"making {folder.name}")
        begun.thread.start()
        return begun


def forget_failure(folder: Path) -> None:
    """Forget that making a folder has failed, to try again."""
    with _LOCK:
        _MAKING.pop(folder, None)


def cache_folder(workspace: Workspace, kept: Path, *, usable: bool) -> Path:
    """Return a folder of the workspace's cache, or a temporary one if the workspace is read-only and has none.

    usable: whether the folder holds what is needed.
    """
    if usable or (not workspace.store.read_only and os.access(workspace.path, os.W_OK)):
        return kept
    return Path(_elsewhere(workspace.path).name) / kept.relative_to(workspace.path)


@cache
def _elsewhere(_: Path) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="orl-cache-")
