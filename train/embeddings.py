"""Features on disk: one growing, memory-mapped array for each encoder and kind, and the ids of its rows."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock

from orl_explorer.train.errors import UserError
from orl_explorer.train.published import publish

Kind = Literal["images", "rois", "attention-and-looks", "train", "test"]
DTYPE = "<f4"  # half precision would save disk and cost the order of near-equal pairs


@dataclass(frozen=True)
class _Index:
    """Ids in ascending order, and the row of each; replaced whole, so that threads see one or the other."""

    ids: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, written: np.ndarray) -> _Index:
        rows = np.argsort(written, kind="stable")
        return cls(written[rows], rows)

    def find(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row of each id, int64 [n], and whether it has one, bool [n]."""
        if not len(self.ids):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return self.rows[at], self.ids[at] == ids


class Embeddings:
    """Rows of unit length by id; a row is written once and never changed.

    ``<kind>.vectors`` is little-endian float32 [n, D], ``<kind>.ids`` int64 [n], ``<kind>.json`` the header.
    Ids are written after their vectors are on disk, so a killed process loses rows, never gets wrong ones.
    """

    def __init__(self, folder: Path, kind: Kind, width: int, weights_sha256: str) -> None:
        """Open, without a write. Raises UserError when the folder holds features of other weights."""
        self.width = width
        self._vectors, self._ids = folder / f"{kind}.vectors", folder / f"{kind}.ids"
        self._lock, self._described = folder / f"{kind}.lock", folder / f"{kind}.json"
        self._header = {"dtype": DTYPE, "width": width, "weights_sha256": weights_sha256}
        self._check()
        self._row_bytes = width * np.dtype(DTYPE).itemsize
        self._index = _Index.of(np.empty(0, np.int64))
        self.refresh()

    def _check(self) -> bool:
        """Whether there are features yet, which are then of these weights; a header alone is of a killed writer."""
        if not self._vectors.exists():
            return False
        if json.loads(self._described.read_text()) != self._header:
            raise UserError(
                f"{self._described} describes features of other weights; "
                f"move {self._described.parent} away and mine again."
            )
        return True

    def refresh(self) -> None:
        """Take in the rows that another process has added; costs nothing when there are none."""
        rows = 0
        if self._ids.exists() and self._vectors.exists():
            rows = min(self._ids.stat().st_size // 8, self._vectors.stat().st_size // self._row_bytes)
        if rows != self.rows:
            self._index = _Index.of(np.fromfile(self._ids, "<i8", count=rows))

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._index.ids)

    def __contains__(self, key: int) -> bool:
        return bool(self.have(np.array([key]))[0])

    def have(self, ids: np.ndarray) -> np.ndarray:
        """Which of the ids have a row: int64 [n] -> bool [n]."""
        return self._index.find(ids)[1]

    def missing(self, ids: np.ndarray) -> int:
        """How many of the ids, int64 [n], have no row."""
        return int((~self.have(ids)).sum())

    def get(self, ids: np.ndarray) -> np.ndarray:
        """Rows of these ids, all of which must be there: int64 [n] -> float32 [n, D], read-only. Raises KeyError."""
        if not len(ids):
            return np.empty((0, self.width), np.float32)
        index = self._index
        rows, there = index.find(ids)
        if not there.all():
            raise KeyError(f"{int((~there).sum())} of {len(ids)} rows were never embedded")
        if (np.diff(rows) == 1).all():  # as the RoIs of a photo mostly lie: read where they are, not copied
            return self._mapped(int(rows[0]), len(rows))
        return self._mapped(0, len(index.ids))[rows]

    def _mapped(self, first: int, count: int) -> np.ndarray:
        begin = first * self._row_bytes
        page = begin - begin % mmap.ALLOCATIONGRANULARITY
        with self._vectors.open("rb") as file:
            bytes_ = mmap.mmap(
                file.fileno(), begin - page + count * self._row_bytes, access=mmap.ACCESS_READ, offset=page
            )
        return np.frombuffer(bytes_, DTYPE, count * self.width, begin - page).reshape(count, self.width)

    def lazily(self, ids: np.ndarray) -> LazyRows:
        """The same, but read a slice at a time by whoever slices them."""
        return LazyRows(self, ids)

    def add(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        """Append (ids int64 [n], vectors float32 [n, D]) as they come. Returns the number of rows added."""
        added = 0
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock):
            if not self._check():
                header = json.dumps(self._header, indent=1).encode()
                publish(lambda file: file.write(header), self._described)
            self.refresh()
            with self._vectors.open("ab") as vectors, self._ids.open("ab") as ids:
                # A killed writer may have left part of a row, or vectors without ids.
                vectors.truncate(self.rows * self._row_bytes)
                ids.truncate(self.rows * 8)
                for new_ids, new_vectors in batches:
                    vectors.write(np.ascontiguousarray(new_vectors, DTYPE).tobytes())
                    vectors.flush()
                    os.fsync(vectors.fileno())
                    ids.write(np.ascontiguousarray(new_ids, "<i8").tobytes())
                    ids.flush()
                    added += len(new_ids)
            self.refresh()
        return added


@dataclass(frozen=True)
class LazyRows:
    """Rows of some ids, int64 [n], that stay on disk: ``[a:b]`` is float32 [b - a, D]."""

    stored: Embeddings
    ids: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """n and D."""
        return len(self.ids), self.stored.width

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.stored.get(self.ids[part])
