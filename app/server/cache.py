"""Pictures that were made once, kept on disk: bounded in bytes, the least recently used go first."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from orl_explorer.train.files import publish

MARK = 16  # bytes after a picture that stand for its content; whatever shows a JPEG passes over them
LEFT = 0.9  # share of the bound that is left when pictures are removed: not every new one shall need to look
BLIND = 0.1  # share of the bound that is written between two looks, since other processes write as well


class PictureCache:
    """Pictures by name, in a folder that may be deleted at any time.

    May be shared between threads, and its folder between processes. A damaged picture is made anew. Where the disk is
    full or cannot be written, nothing is kept.
    """

    def __init__(self, folder: Path, most: int) -> None:
        """``most``: bytes that are kept."""
        self._folder, self._most = folder, most
        self._lock = threading.Lock()
        self._room = 0  # bytes that may be written before the folder is looked at again

    def get(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The picture of this name, made if it is not there. Raises what ``make`` raises."""
        data = self._kept(name)
        if data is None:
            data = make()
            self._keep(name, data)
        return data

    def _kept(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            whole = path.read_bytes()
        except OSError:
            return None
        data, mark = whole[:-MARK], whole[-MARK:]
        if mark != _mark(data):
            return None
        now = time.time_ns()
        with contextlib.suppress(OSError):  # removed by another process, or a disk that cannot be written
            os.utime(path, ns=(now, now))
        return data

    def _keep(self, name: str, data: bytes) -> None:
        with contextlib.suppress(OSError):
            publish(lambda file: file.write(data + _mark(data)), self._folder / name, lasting=False)
            with self._lock:
                self._room -= len(data) + MARK
                if self._room < 0:
                    self._room = min(self._most - self._tidied(), int(BLIND * self._most))

    def _tidied(self) -> int:
        """Remove what is too much; returns the bytes that are left."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):  # removed by another process
                    stat = entry.stat()
                    found.append((stat.st_mtime_ns, stat.st_size, entry.path))
        left = sum(size for _, size, _ in found)
        if left > self._most:
            for _, size, path in sorted(found):
                if left <= LEFT * self._most:
                    break
                with contextlib.suppress(OSError):
                    Path(path).unlink()
                    left -= size
        return left


def _mark(data: bytes) -> bytes:
    return blake2b(data, digest_size=MARK).digest()
