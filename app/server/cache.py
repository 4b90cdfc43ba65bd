"""Caches with limits in bytes, in memory and on disk. What was least recently used is removed first."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish

MARK = 16  # bytes of a checksum after each picture; JPEG decoders ignore them
LEFT = 0.9  # share of the limit that is left after a clean-up, so that not every new picture starts one
BLIND = 0.1  # share of the limit that is written between two clean-ups: other processes write too
IN_MEMORY = 2**27  # bytes of pictures that a read-only cache keeps: crops have some 4 KB, photos some 40 to 400 KB

T = TypeVar("T")


class Recent(Generic[T]):
    """The values that were used last, by key, up to a limit in bytes. The newest may be of any size.

    Threads may share it.
    """

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        """most: limit in bytes. size: returns the bytes of a value."""
        self._most, self._size = most, size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return the value of a key, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value."""
        with self._lock:
            if (before := self._kept.pop(key, None)) is not None:
                self._bytes -= self._size(before)
            self._kept[key] = value
            self._bytes += self._size(value)
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= self._size(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


class PictureCache:
    """Pictures by name, in a folder that may be deleted at any time.

    Threads may share the cache, and processes its folder. A damaged picture is made again. If the disk is full or
    read-only, nothing is kept.
    """

    def __init__(self, folder: Path, most: int, read_only: bool = False) -> None:
        """Open a cache in a folder. most: limit in bytes. read_only: keep pictures in memory instead."""
        self._folder, self._most, self._read_only = folder, most, read_only
        self._in_memory: Recent[bytes] = Recent(IN_MEMORY, len)
        self._lock = threading.Lock()
        self._room = 0  # bytes that may be written before the next clean-up

    def get(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return the picture of this name; make it if it is not cached. Raises what ``make`` raises."""
        data = self._kept(name)
        if data is None:
            data = make()
            self._keep(name, data)
        return data

    def _kept(self, name: str) -> bytes | None:
        if self._read_only and (seen := self._in_memory.get(name)) is not None:
            return seen
        path = self._folder / name
        try:
            whole = path.read_bytes()
        except OSError:
            return None
        data, mark = whole[:-MARK], whole[-MARK:]
        if mark != _mark(data):
            return None
        if self._read_only:
            return data
        now = time.time_ns()
        with contextlib.suppress(OSError):  # removed by another process, or a read-only disk
            os.utime(path, ns=(now, now))
        return data

    def _keep(self, name: str, data: bytes) -> None:
        if self._read_only:
            self._in_memory.put(name, data)
            return
        with contextlib.suppress(UserError):  # the disk is full or read-only
            publish(lambda file: file.write(data + _mark(data)), self._folder / name, lasting=False)
            with self._lock:
                self._room -= len(data) + MARK
                if self._room < 0:
                    self._room = min(self._most - self._tidied(), int(BLIND * self._most))

    def _tidied(self) -> int:
        """Remove pictures beyond the limit. Return the bytes that are left."""
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
