"""Files as pieces of bytes that follow one another, for a disk or for a browser that is still reading the first."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import pyarrow as pa

SIZE = 1 << 16  # bytes of a piece, at least


class _Table(Protocol):
    def write_batch(self, batch: pa.RecordBatch) -> Any:
        """Write some rows."""


class _Sink(io.RawIOBase):
    """A file that is nowhere: what was written is taken away again, a piece at a time."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        kept = bytes(data)
        self._written.append(kept)
        return len(kept)

    def take(self, least: int = 1) -> Iterator[bytes]:
        """Everything so far as one piece, if it is so many bytes."""
        if sum(map(len, self._written)) >= least:
            piece = b"".join(self._written)
            self._written.clear()
            yield piece


def gathered(parts: Iterable[str]) -> Iterator[bytes]:
    """Text in pieces that are worth sending."""
    sink = _Sink()
    for part in parts:
        sink.write(part.encode())
        yield from sink.take(SIZE)
    yield from sink.take()


def through(
    writer: Callable[[_Sink], AbstractContextManager[_Table]], batches: Iterable[pa.RecordBatch]
) -> Iterator[bytes]:
    """What one of pyarrow's writers makes of some batches."""
    sink = _Sink()
    with writer(sink) as table:
        for batch in batches:
            table.write_batch(batch)
            yield from sink.take(SIZE)
    yield from sink.take()


def zipped(files: Mapping[str, Iterable[str]]) -> Iterator[bytes]:
    """Texts by file name, as one zip."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, parts in files.items():
            with archive.open(name, "w", force_zip64=True) as file:  # nobody knows yet how long it will be
                for part in parts:
                    file.write(part.encode())
                    yield from sink.take(SIZE)
    yield from sink.take()


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Lines of a table; None is empty. A cell that a spreadsheet would take for a formula is kept from it."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow(f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell for cell in row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
