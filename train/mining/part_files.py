"""One file for one part of a dataset: the proposals or the features of its photos, and a description of both.

The file begins with ``HEAD`` and ends with a description (JSON), the length of that, and ``TAIL``. Between them lie
sections, plain little-endian arrays. A description at the end lets a writer append rows without knowing their number,
and vectors can be mapped into memory where they are.

While a part is written, its rows are in a hidden file beside it, and a journal names those that have reached the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from orl_explorer.train.errors import UserError
from orl_explorer.train.files import said_plainly

HEAD = b"ORL part 1\n".ljust(64)
TAIL = b"end of ORL part\n"
ALIGNED = 64  # bytes: sections begin at multiples of it
_LENGTH = 8  # bytes of the description's length
_READ = 1 << 24  # bytes read at once for a digest

PhotoKey = tuple[str, int]  # path in its dataset's folder, and digest of the file


class RowLayout(NamedTuple):
    """How the rows of a section lie on disk. width: numbers of a row, or 0 if a row is one number."""

    dtype: str
    width: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return np.dtype(self.dtype).itemsize * max(1, self.width)

    def shape(self, rows: int) -> tuple[int, ...]:
        """Return the shape of an array of some rows."""
        return (rows, self.width) if self.width else (rows,)


def is_part(file: Path) -> bool:
    """Return whether a file is a part, whole or not. Raises UserError if it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(HEAD)) == HEAD
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from error


@dataclass(frozen=True)
class PartFile:
    """A whole part on disk. description: what was computed of which photos, and how; also where each section lies."""

    path: Path
    description: dict[str, Any]
    end: int  # of the sections, where the description begins

    @classmethod
    def read(cls, path: Path) -> PartFile:
        """Read the description of a part. Raises UserError if the file is not a whole part."""
        try:
            with path.open("rb") as file:
                if file.read(len(HEAD)) != HEAD:
                    raise UserError(f"{path} is not a file of `orl propose` or `orl embed`.")
                ending = len(TAIL) + _LENGTH
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - ending))
                last = file.read()
                end = size - ending - int.from_bytes(last[:_LENGTH], "little")
                if last[_LENGTH:] != TAIL or end < len(HEAD):
                    raise UserError(f"{path} is truncated. Copy it again.")
                file.seek(end)
                return cls(path, json.loads(file.read(size - ending - end)), end)
        except (OSError, ValueError) as error:
            raise UserError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error

    def __contains__(self, section: str) -> bool:
        return section in self.description["sections"]

    def rows(self, section: str) -> int:
        """Return the number of rows of a section; 0 if there is none."""
        return int(self.description["sections"][section]["rows"]) if section in self else 0

    def where(self, section: str) -> int:
        """Return the byte at which a section begins."""
        return int(self.description["sections"][section]["offset"])

    def section(self, name: str) -> np.ndarray:
        """Return a section, memory-mapped and read-only."""
        about = self.description["sections"][name]
        shape = RowLayout(about["dtype"], about["width"]).shape(about["rows"])
        if not about["rows"]:
            return np.empty(shape, about["dtype"])
        return np.memmap(self.path, about["dtype"], "r", about["offset"], shape)

    @cached_property
    def photos(self) -> list[PhotoKey]:
        """The photos of the part, those that could not be read included."""
        return [(path, digest) for path, digest in json.loads(self.section("photos").tobytes())]

    @property
    def lost(self) -> dict[int, str]:
        """Reasons why photos could not be read, by their number in ``photos``."""
        return {int(number): reason for number, reason in self.description["lost"].items()}

    def check(self) -> None:
        """Read the whole file. Raises UserError if its content has changed since it was written."""
        if _digest(self.path, self.end) != self.description["content"]:
            raise UserError(f"The content of {self.path} is damaged. Copy it again.")


def _digest(path: Path, end: int) -> str:
    """Return the digest of the first bytes of a file."""
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while end > 0 and (block := file.read(min(end, _READ))):
            found.update(block)
            end -= len(block)
    return found.hexdigest()


@contextmanager
def unfinished(
    out: Path, description: Mapping[str, Any], layouts: Mapping[str, RowLayout], photos: Sequence[PhotoKey]
) -> Iterator[UnfinishedPart | None]:
    """Yield the part that becomes ``out`` by its ``finish``; None if that file is there and has this description.

    layouts: of the sections, in the order in which they are filled. What an interrupted attempt has written is kept.
    Raises UserError if the file is there and is another one, if another process is writing it, or if the disk is full.
    """
    with said_plainly(out):
        if out.exists():
            _refuse_another(out, description, photos)
            yield None
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_aside(out, "lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"Another process is writing {out}. Wait until it ends.") from None
        try:
            part = UnfinishedPart(out, description, layouts, photos)
            try:
                yield part
            finally:
                part.close()
        finally:
            _aside(out, "lock").unlink(missing_ok=True)
            lock.release()


def _refuse_another(out: Path, description: Mapping[str, Any], photos: Sequence[PhotoKey]) -> None:
    there = PartFile.read(out) if is_part(out) else None
    asked = json.loads(json.dumps(description))
    if there is None or {name: there.description.get(name) for name in asked} != asked or there.photos != [*photos]:
        raise UserError(f"{out} already exists and holds something else. Choose another --out, or remove it.")


def _aside(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{what}")


class UnfinishedPart:
    """A part that is being written. Its sections are filled one after the other."""

    def __init__(
        self,
        out: Path,
        description: Mapping[str, Any],
        layouts: Mapping[str, RowLayout],
        photos: Sequence[PhotoKey],
    ) -> None:
        """Open the hidden files, and go on where an attempt with the same description stopped."""
        self.photos = list(photos)
        self.lost: dict[int, str] = {}
        self._out, self._description, self._layouts = out, dict(description), dict(layouts)
        self._rows_path, self._journal_path = _aside(out, "unfinished"), _aside(out, "journal")
        self._start = dict.fromkeys(layouts, 0)  # byte at which each section begins; 0 before it does
        self._count = dict.fromkeys(layouts, 0)
        self._notes: dict[str, list[Any]] = {name: [] for name in layouts}
        begin = json.dumps([self._description, {n: [*layout] for n, layout in layouts.items()}, self.photos])
        records = self._kept(begin)
        end = len(HEAD)
        with self._rows_path.open("ab") as file:
            written = file.seek(0, os.SEEK_END)
        valid = [begin]
        for line, record in records:
            if "section" in record and self._end_after(record, end) > written:
                break  # the machine died before the rows reached the disk
            end = self._take(record, end)
            valid.append(line)
        self._journal = self._journal_path.open("w", encoding="utf-8")
        self._journal.writelines(f"{line}\n" for line in valid)
        self._journal.flush()
        self._rows = self._rows_path.open("r+b")
        self._rows.truncate(end)
        self._rows.seek(0)
        self._rows.write(HEAD)
        self._rows.seek(end)

    def _kept(self, begin: str) -> list[tuple[str, dict[str, Any]]]:
        """Return the lines of the journal and their records, if it is of this part."""
        try:
            first, *lines = self._journal_path.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError):
            return []
        if json.loads(begin) != _parsed(first):
            return []
        records = []
        for line in lines:
            if not isinstance(record := _parsed(line), dict):
                break  # a killed writer left half a line
            records.append((line, record))
        return records

    def _end_after(self, record: Mapping[str, Any], end: int) -> int:
        start = end if self._start[record["section"]] else end + -end % ALIGNED
        return start + record["rows"] * self._layouts[record["section"]].row_bytes

    def _take(self, record: Mapping[str, Any], end: int) -> int:
        """Note what a record says. Returns the byte at which the next rows begin."""
        if "lost" in record:
            self.lost[record["lost"]] = record["reason"]
            return end
        name, after = record["section"], self._end_after(record, end)
        self._start[name] = self._start[name] or end + -end % ALIGNED
        self._count[name] += record["rows"]
        self._notes[name] += record["notes"]
        return after

    def notes(self, section: str) -> list[Any]:
        """Return the notes of all rows of a section."""
        return self._notes[section]

    def append(self, section: str, rows: np.ndarray, notes: list[Any]) -> None:
        """Append rows to the section that is being filled. notes: about the rows, kept in the journal."""
        record = {"section": section, "rows": len(rows), "notes": notes}
        end = self._rows.tell()
        if not self._start[section]:
            self._rows.write(bytes(-end % ALIGNED))
        self._rows.write(np.ascontiguousarray(rows, self._layouts[section].dtype).tobytes())
        self._rows.flush()
        os.fsync(self._rows.fileno())
        self._take(record, end)
        self._note(record)

    def lose(self, number: int, reason: str) -> None:
        """Note that a photo cannot be read."""
        record = {"lost": number, "reason": reason}
        self._take(record, 0)
        self._note(record)

    def section(self, name: str) -> np.ndarray:
        """Return what a section holds by now, memory-mapped and read-only."""
        layout, count = self._layouts[name], self._count[name]
        if not count:
            return np.empty(layout.shape(0), layout.dtype)
        return np.memmap(self._rows_path, layout.dtype, "r", self._start[name], layout.shape(count))

    def finish(self, arrays: Mapping[str, np.ndarray], versions: Mapping[str, str]) -> None:
        """Add small sections and the description, and give the file its name."""
        sections = {
            name: {"dtype": layout.dtype, "width": layout.width, "rows": self._count[name], "offset": self._start[name]}
            for name, layout in self._layouts.items()
        }
        listed = np.frombuffer(json.dumps(self.photos).encode(), np.uint8)
        for name, array in {**arrays, "photos": listed}.items():
            self._rows.write(bytes(-self._rows.tell() % ALIGNED))
            kind = array.dtype.newbyteorder("<").str
            sections[name] = {"dtype": kind, "width": 0, "rows": len(array), "offset": self._rows.tell()}
            self._rows.write(array.astype(kind).tobytes())
        end = self._rows.tell()
        self._rows.flush()
        found = {"sections": sections, "lost": self.lost, "versions": dict(versions)}
        last = json.dumps(self._description | found | {"content": _digest(self._rows_path, end)}).encode()
        self._rows.write(last + len(last).to_bytes(_LENGTH, "little") + TAIL)
        self._rows.flush()
        os.fsync(self._rows.fileno())
        self.close()
        self._rows_path.replace(self._out)
        self._journal_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the hidden files."""
        self._rows.close()
        self._journal.close()

    def _note(self, record: Mapping[str, Any]) -> None:
        self._journal.write(json.dumps(record) + "\n")
        self._journal.flush()


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
