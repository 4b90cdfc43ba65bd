"""Files as streams of pieces of bytes, to write to disk or to send to a browser."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

SIZE = 1 << 16  # bytes of a piece, at least


class _Table(Protocol):
    def write_batch(self, batch: pa.RecordBatch) -> Any:
        """Write some rows."""


class Sink(io.RawIOBase):
    """A file in memory whose content is removed in pieces while it is written."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        kept = bytes(data)
        self._written.append(kept)
        return len(kept)

    def take(self, least: int = 1) -> Iterator[bytes]:
        """Yield everything written so far as one piece, if it has at least ``least`` bytes."""
        if sum(map(len, self._written)) >= least:
            piece = b"".join(self._written)
            self._written.clear()
            yield piece


def gathered(parts: Iterable[str]) -> Iterator[bytes]:
    """Encode text and yield it in pieces of at least ``SIZE`` bytes."""
    sink = Sink()
    for part in parts:
        sink.write(part.encode())
        yield from sink.take(SIZE)
    yield from sink.take()


def through(
    writer: Callable[[Sink], AbstractContextManager[_Table]], batches: Iterable[pa.RecordBatch]
) -> Iterator[bytes]:
    """Yield the bytes that a pyarrow writer produces from batches."""
    sink = Sink()
    with writer(sink) as table:
        for batch in batches:
            table.write_batch(batch)
            yield from sink.take(SIZE)
    yield from sink.take()


def zipped(files: Iterable[tuple[str, Iterable[str | bytes]]]) -> Iterator[bytes]:
    """Yield a zip of files, given by name, each as texts or bytes."""
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, parts in files:
            with archive.open(name, "w", force_zip64=True) as file:  # its length is not known yet
                for part in parts:
                    file.write(part.encode() if isinstance(part, str) else part)
                    yield from sink.take(SIZE)
    yield from sink.take()
