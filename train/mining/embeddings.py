"""Features on disk: memory-mapped arrays for each encoder and kind, and the key of each of their rows.

One array grows. Beside it there may be parts that were computed elsewhere, which are read where they lie.

A key is derived from the pixels that a feature describes (``train.mining.features``), not from ids of the store. In
any store, a photo finds the features of its own pixels or none.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from filelock import FileLock

from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish, said_plainly
from orl_explorer.train.mining.part_files import PartFile

FeatureKind = Literal["images", "rois", "attention-and-looks", "map-boxes", "train", "test"]
DTYPE = "<f4"  # half precision would save disk space but change the order of nearly equal pairs
# Version of the keys and of the decoding of files. Features of another version are computed again; version 1 used ids
# of the store as keys.
VERSION = 2


PARTS = f"parts-{VERSION}"  # folder of parts that were computed elsewhere
SUFFIX = ".part"
READS = 16  # of the disk at once, for rows that are scattered
TAKEN = 4096  # rows of a part that are appended at once


class _Array(NamedTuple):
    """An array of vectors on disk. offset: byte at which it begins."""

    file: Path
    offset: int
    rows: int


@dataclass(frozen=True)
class _Index:
    """Keys in ascending order, and the row of each. Replaced as a whole, so that threads see a consistent index.

    Rows are counted through all arrays; starts: int64, the first row of each. Of equal keys, the first row counts.
    """

    keys: np.ndarray
    rows: np.ndarray
    arrays: tuple[_Array, ...]
    starts: np.ndarray

    @classmethod
    def of(cls, written: np.ndarray, arrays: tuple[_Array, ...]) -> _Index:
        rows = np.argsort(written, kind="stable")
        starts = np.cumsum([0, *(array.rows for array in arrays)])[:-1]
        return cls(written[rows], rows, arrays, starts)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the row of each key, int64 [n], and whether it has one, bool [n]."""
        if not len(self.keys):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.rows[at], self.keys[at] == keys


class Embeddings:
    """Rows by key, of unit length unless they are boxes; a row is written once and never changed.

    ``<kind>-2.vectors`` is little-endian float32 [n, D], ``<kind>-2.keys`` int64 [n], ``<kind>-2.json`` the header.
    Keys are written after their vectors are on disk, so a killed process may lose rows but never has wrong ones.
    Files in ``parts-2`` (``train.mining.part_files``) hold further rows and are never written to.
    """

    def __init__(self, folder: Path, kind: FeatureKind, width: int, weights_sha256: str) -> None:
        """Open the files without writing. Raises UserError if the folder holds features of other weights."""
        self.width, self._folder, self._kind = width, folder, kind
        stem = f"{kind}-{VERSION}"
        self._vectors, self._keys = folder / f"{stem}.vectors", folder / f"{stem}.keys"
        self._lock, self._described = folder / f"{stem}.lock", folder / f"{stem}.json"
        self._header = {"dtype": DTYPE, "width": width, "weights_sha256": weights_sha256}
        self._check()
        self._row_bytes = width * np.dtype(DTYPE).itemsize
        self._reading = threading.Lock()
        self._own = 0  # rows of the growing array
        self._parts: tuple[Path, ...] = ()
        self._index = _Index.of(np.empty(0, np.int64), (_Array(self._vectors, 0, 0),))
        self.refresh()

    def _check(self) -> bool:
        """Return whether there are features, of these weights. A header without features is left by a killed writer."""
        if not self._vectors.exists():
            return False
        try:
            described = json.loads(self._described.read_text())
        except (OSError, ValueError) as problem:
            raise UserError(
                f"Cannot read {self._described}, the description of stored features. "
                f"Move {self._described.parent} away and mine again."
            ) from problem
        if described != self._header:
            raise UserError(
                f"{self._described} describes features of other weights. "
                f"Move {self._described.parent} away and mine again."
            )
        return True

    def refresh(self) -> None:
        """Read the keys of rows that another process has added, if any. Raises UserError if a part is damaged."""
        with self._reading:  # else a thread that has seen fewer rows could end last
            self._read_keys()

    def _read_keys(self) -> None:
        rows, parts = 0, tuple(part_paths(self._folder))
        if self._keys.exists() and self._vectors.exists():
            rows = min(self._keys.stat().st_size // 8, self._vectors.stat().st_size // self._row_bytes)
        if (rows, parts) == (self._own, self._parts):
            return
        keys = [np.fromfile(self._keys, "<i8", count=rows) if rows else np.empty(0, np.int64)]
        arrays = [_Array(self._vectors, 0, rows)]
        for path in parts:
            try:
                part = PartFile.read(path)
            except UserError:
                if path.exists():
                    raise
                continue  # compacted since the folder was listed: the next refresh finds its rows in the growing array
            if self._kind in part:
                self._check_part(part)
                keys.append(part.section(f"{self._kind}-keys"))
                arrays.append(_Array(path, part.where(self._kind), part.rows(self._kind)))
        self._index = _Index.of(np.concatenate(keys), tuple(arrays))
        self._own, self._parts = rows, parts

    def _check_part(self, part: PartFile) -> None:
        about = part.description["encoder"]["weights_sha256"], part.description["sections"][self._kind]["width"]
        if about != (self._header["weights_sha256"], self.width):
            raise UserError(f"{part.path} holds features of other weights. Move it away and mine again.")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._index.keys)

    @property
    def keys(self) -> np.ndarray:
        """The key of every row, int64, ascending."""
        return self._index.keys

    @property
    def duplicates(self) -> int:
        """Number of rows whose key has an earlier row, which counts."""
        return int((self._index.keys[1:] == self._index.keys[:-1]).sum())

    @property
    def parts(self) -> int:
        """Number of files that hold rows beside the growing array."""
        return len(self._index.arrays) - 1

    @property
    def outdated(self) -> int:
        """Number of rows of other versions. They are unused; the first write of this version deletes them."""
        return sum(file.stat().st_size // 8 for file in self._of_other_versions() if file.suffix in (".ids", ".keys"))

    def _of_other_versions(self) -> list[Path]:
        own = f"{self._kind}-{VERSION}."
        files = [*self._folder.glob(f"{self._kind}.*"), *self._folder.glob(f"{self._kind}-[0-9]*.*")]
        return [file for file in files if not file.name.startswith(own)]

    def __contains__(self, key: int) -> bool:
        return bool(self.have(np.array([key]))[0])

    def have(self, keys: np.ndarray) -> np.ndarray:
        """Return which of the keys have a row: int64 [n] -> bool [n]."""
        return self._index.find(keys)[1]

    def missing(self, keys: np.ndarray) -> int:
        """Count the keys, int64 [n], without a row."""
        return int((~self.have(keys)).sum())

    def get(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows of keys, int64 [n] -> float32 [n, D], read-only. Raises UserError if a row is missing."""
        if not len(keys):
            return np.empty((0, self.width), np.float32)
        index = self._index
        rows = self._rows_of(index, keys)
        try:
            return self._read(index, rows)
        except FileNotFoundError:  # a part was compacted meanwhile: its rows are in the growing array now
            self.refresh()
            return self._read(self._index, self._rows_of(self._index, keys))

    def _rows_of(self, index: _Index, keys: np.ndarray) -> np.ndarray:
        rows, there = index.find(keys)
        if not there.all():
            raise UserError(
                f"{int((~there).sum())} of {len(keys)} features are not in {self._folder}. Mine with this encoder."
            )
        return rows

    def _read(self, index: _Index, rows: np.ndarray) -> np.ndarray:
        of = np.searchsorted(index.starts, rows, "right") - 1 if len(index.arrays) > 1 else np.zeros(1, np.int64)
        if (of == of[0]).all():
            array, within = index.arrays[of[0]], rows - index.starts[of[0]]
            if (np.diff(within) == 1).all():  # usual for the RoIs of a photo: mapped, not copied
                return self._mapped(array, int(within[0]), len(within))
            return self._mapped(array, 0, array.rows)[within]
        found = np.empty((len(rows), self.width), np.float32)
        for number in np.unique(of).tolist():
            here, array = of == number, index.arrays[number]
            found[here] = self._mapped(array, 0, array.rows)[rows[here] - index.starts[number]]
        return found

    def scattered(self, keys: np.ndarray) -> np.ndarray:
        """Return what ``get`` does, for keys whose rows lie far from one another: many disk reads at once, none ahead.

        Of a file that is larger than the memory, this is a hundred times as fast.
        """
        with ThreadPoolExecutor(READS) as pool:
            parts = np.array_split(keys, max(1, min(len(keys), 4 * READS)))
            return np.concatenate(list(pool.map(self._each_alone, parts)))

    def _each_alone(self, keys: np.ndarray) -> np.ndarray:
        index = self._index
        rows, found = self._rows_of(index, keys), np.empty((len(keys), self.width), np.float32)
        of = np.searchsorted(index.starts, rows, "right") - 1
        try:
            for number in np.unique(of).tolist():
                here, array = of == number, index.arrays[number]
                whole = self._mapped(array, 0, array.rows, ahead=False)
                found[here] = whole[rows[here] - index.starts[number]]
        except FileNotFoundError:  # as in ``get``
            return self.get(keys)
        return found

    def _mapped(self, array: _Array, first: int, count: int, ahead: bool = True) -> np.ndarray:
        begin = array.offset + first * self._row_bytes
        page = begin - begin % mmap.ALLOCATIONGRANULARITY
        with array.file.open("rb") as file:
            bytes_ = mmap.mmap(
                file.fileno(), begin - page + count * self._row_bytes, access=mmap.ACCESS_READ, offset=page
            )
        if not ahead and hasattr(mmap, "MADV_RANDOM"):
            bytes_.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(bytes_, DTYPE, count * self.width, begin - page).reshape(count, self.width)

    def lazily(self, keys: np.ndarray) -> LazyRows:
        """Return the rows of keys as an object that reads only the slices asked for."""
        return LazyRows(self, keys)

    def add(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        """Append batches of (keys int64 [n], vectors float32 [n, D]). Returns the number of rows added.

        Raises UserError if the disk is full or cannot be written; the rows before remain.
        """
        with said_plainly(self._vectors):
            return self._add(batches)

    def _add(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        added = 0
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock):
            if not self._check():
                header = json.dumps(self._header, indent=1).encode()
                publish(lambda file: file.write(header), self._described)
                for file in self._of_other_versions():
                    file.unlink()
            self.refresh()
            with self._vectors.open("ab") as vectors, self._keys.open("ab") as keys:
                # A killed writer may have left part of a row, or vectors without keys.
                vectors.truncate(self._own * self._row_bytes)
                keys.truncate(self._own * 8)
                for new_keys, new_vectors in batches:
                    vectors.write(np.ascontiguousarray(new_vectors, DTYPE).tobytes())
                    vectors.flush()
                    os.fsync(vectors.fileno())
                    keys.write(np.ascontiguousarray(new_keys, "<i8").tobytes())
                    keys.flush()
                    added += len(new_keys)
            self.refresh()
        return added

    def take_in(self, part: PartFile) -> int:
        """Append the rows of a part that the growing array has not. Returns their number."""
        if self._kind not in part:
            return 0
        self._check_part(part)
        keys, vectors = part.section(f"{self._kind}-keys"), part.section(self._kind)
        own = np.sort(np.fromfile(self._keys, "<i8", count=self._own)) if self._own else np.empty(0, np.int64)
        new = np.flatnonzero(~np.isin(keys, own))
        new = new[np.sort(np.unique(keys[new], return_index=True)[1])]
        some = (new[start : start + TAKEN] for start in range(0, len(new), TAKEN))
        return self.add((keys[rows], vectors[rows]) for rows in some) if len(new) else 0


def part_paths(folder: Path) -> list[Path]:
    """Return the files of a folder's parts, by name."""
    try:
        return sorted(path for path in (folder / PARTS).iterdir() if path.suffix == SUFFIX)
    except (FileNotFoundError, NotADirectoryError):
        return []


@dataclass(frozen=True)
class LazyRows:
    """Rows of some keys, int64 [n], that stay on disk: ``[a:b]`` is float32 [b - a, D], as is ``[rows]`` of int64."""

    stored: Embeddings
    keys: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """n and D."""
        return len(self.keys), self.stored.width

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return self.stored.get(self.keys[part])
