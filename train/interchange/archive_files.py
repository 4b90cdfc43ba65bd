"""Archives of sets, read and checked to their end before anything is stored. They may come from anyone."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pydantic import ValidationError

from orl_explorer.train.errors import UserError
from orl_explorer.train.interchange.archive import FORMAT, MANIFEST, SCHEMAS, VERSION
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.words import visible

REQUIRED = ("photos", "rois", "neighbors", "pairs")
LARGEST_MANIFEST = 1 << 20  # bytes
BATCH = 4096  # rows that are unpacked at once
MOST_TIMES, SLACK = 200, 1 << 20  # a table unpacks to so many times its size at most, and so many bytes
TOLERANCE = 1e-3  # of cosines, which rounding may take beyond 1


@dataclass(frozen=True)
class Archive:
    """A checked archive. tables: columns by name, by table; arrays of equal length, boxes as a list of bytes."""

    path: Path
    manifest: dict[str, Any]
    config: MineConfig
    tables: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """Name of the set where it was mined."""
        return str(self.manifest["set"]["name"])


def read_archive(path: Path) -> Archive:
    """Read and check an archive. Raises UserError if it is damaged, foreign, newer, or breaks what a set promises."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(path, archive)
            manifest = _manifest(path, archive, entries.pop(MANIFEST, None))
        tables = {name: _table(path, name, entries, manifest) for name in SCHEMAS if name in manifest["tables"]}
        if others := entries.keys() - {f"{name}.parquet" for name in tables}:
            raise _refusal(path, f"it holds {visible(min(others))}, which no archive of a set has")
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, RuntimeError, pa.ArrowException) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged, truncated or no archive of a set: {visible(str(error))}.") from error
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    found = Archive(path, manifest, _settings(path, manifest), tables)
    _check(found)
    return found


def _refusal(path: Path, why: str) -> UserError:
    return UserError(f"{path} cannot be imported: {why}.")


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name, with declared sizes that the file can hold: nothing is unpacked."""
    entries: dict[str, zipfile.ZipInfo] = {}
    size = path.stat().st_size
    for entry in archive.infolist():
        if entry.filename in entries:
            raise _refusal(path, f"it holds {visible(entry.filename)} twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise _refusal(path, f"{visible(entry.filename)} is compressed or encrypted, as in no archive of a set")
        if entry.file_size != entry.compress_size or entry.file_size > size:
            raise _refusal(path, f"{visible(entry.filename)} declares a size that the file does not have")
        entries[entry.filename] = entry
    return entries


def _manifest(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> dict[str, Any]:
    if entry is None:
        raise _refusal(path, f"it has no {MANIFEST}, so it is no archive of a set")
    if entry.file_size > LARGEST_MANIFEST:
        raise _refusal(path, f"its {MANIFEST} is larger than that of any set")
    try:
        found = json.loads(archive.read(entry))
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"its {MANIFEST} is no JSON") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise _refusal(path, "it is no archive of a set")
    if found.get("version") != VERSION:
        number = visible(str(found.get("version")))
        raise _refusal(path, f"it has version {number} of the format, and this program reads version {VERSION}")
    made, encoder, tables = found.get("set"), found.get("encoder"), found.get("tables")
    known = all(isinstance(part, dict) for part in (made, encoder, tables)) and isinstance(found.get("dataset"), str)
    texts = {**dict.fromkeys(("name", "digest"), str), "settings": dict}
    if not known or not all(isinstance(made.get(key), kind) for key, kind in texts.items()):  # type: ignore[union-attr]
        raise _refusal(path, f"its {MANIFEST} lacks what every set has")
    names = {"name": str, "architecture": str, "weights_sha256": str, "supervised": bool}
    numbers = {"image_features": int, "roi_features": int}
    if not all(isinstance(encoder.get(key), kind) for key, kind in (names | numbers).items()):  # type: ignore[union-attr]
        raise _refusal(path, f"its {MANIFEST} does not name the encoder")
    digests = found["set"]["digest"], found["encoder"]["weights_sha256"]
    if not all(re.fullmatch("[0-9a-f]{64}", text) for text in digests):
        raise _refusal(path, f"its {MANIFEST} has a digest that is none")
    return found


def _settings(path: Path, manifest: dict[str, Any]) -> MineConfig:
    try:
        return MineConfig(**manifest["set"]["settings"])
    except (ValidationError, TypeError) as error:
        first = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ()
        named = f": {visible(str(first[0]))}" if first else ""
        raise _refusal(path, f"it has settings that this version does not know{named}") from error


def _table(path: Path, name: str, entries: dict[str, zipfile.ZipInfo], manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a table, whose size, digest, rows and types are as the manifest says."""
    entry, said = entries.get(f"{name}.parquet"), manifest["tables"][name]
    if entry is None or not isinstance(said, dict):
        raise _refusal(path, f"it has no table {name}")
    with pa.memory_map(str(path)) as mapped:
        start = _start(path, mapped, entry)
        mapped.seek(start)
        content = mapped.read_buffer(entry.file_size)
        if content.size != entry.file_size or said.get("bytes") != entry.file_size:
            raise _refusal(path, f"its table {name} is truncated")
        if hashlib.sha256(memoryview(content)).hexdigest() != said.get("sha256"):
            raise _refusal(path, f"its table {name} is damaged: it has another digest than its manifest says")
        file = parquet.ParquetFile(pa.BufferReader(content))
        rows, schema = file.metadata.num_rows, SCHEMAS[name]
        if not file.schema_arrow.equals(schema):
            raise _refusal(path, f"its table {name} has other columns")
        if rows != said.get("rows") or rows > entry.file_size:
            raise _refusal(path, f"its table {name} has another number of rows than its manifest says")
        batches, size = [], 0
        for batch in file.iter_batches(BATCH):
            batches.append(batch)
            size += batch.nbytes
            if size > MOST_TIMES * entry.file_size + SLACK:
                raise _refusal(path, f"its table {name} unpacks to more than any set has")
        table = pa.Table.from_batches(batches, schema)
    table.validate(full=True)
    return {column: _values(path, name, column, table[column]) for column in schema.names}


def _start(path: Path, mapped: Any, entry: zipfile.ZipInfo) -> int:
    """Return where the bytes of an entry begin."""
    mapped.seek(entry.header_offset)
    head = mapped.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise _refusal(path, "it is damaged")
    return entry.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))


def _values(path: Path, table: str, column: str, found: pa.ChunkedArray) -> Any:
    """Return a column: text and bytes as a list, numbers as an array; NaN where margin or objectness are missing."""
    may_lack = column in ("margin", "objectness")
    if found.null_count and not may_lack:
        raise _refusal(path, f"its table {table} has rows without {column}")
    if pa.types.is_string(found.type) or pa.types.is_binary(found.type):
        return found.to_pylist()
    if may_lack:
        found = found.fill_null(float("nan"))
    return found.to_numpy()


# What a set promises -----------------------------------------------------------------------------------------


def _check(found: Archive) -> None:
    path, tables = found.path, found.tables
    if missing := next((name for name in REQUIRED if name not in tables), None):
        raise _refusal(path, f"it has no table {missing}")
    photos, rois, near, pairs = (tables[name] for name in REQUIRED)
    count, k = len(photos["path"]), found.config.neighbors
    if not count:
        raise _refusal(path, "it has no photos")
    _check_photos(path, photos)
    for name in ("rois", "neighbors", "pairs"):
        _in_order(path, name, tables[name], count)
    sizes = np.stack([photos["width"], photos["height"]], 1)[rois["photo"]].astype(np.int64)
    x, y, w, h = (rois[side].astype(np.int64) for side in "xywh")
    if ((x < 0) | (y < 0) | (w < 1) | (h < 1) | (x + w > sizes[:, 0]) | (y + h > sizes[:, 1])).any():
        raise _refusal(path, "a RoI is not inside its photo")
    own = np.bincount(rois["photo"], minlength=count)
    if not own.all():
        raise _refusal(path, f"the photo {visible(photos['path'][int(np.argmin(own))])} has no RoI")
    if len(near["photo"]) != count * k or (np.bincount(near["photo"], minlength=count) != k).any():
        raise _refusal(path, f"not every photo has {k} neighbours")
    neighbor = near["neighbor"].reshape(count, k)
    if neighbor.min() < 0 or neighbor.max() >= count or (np.diff(np.sort(neighbor), axis=1) == 0).any():
        raise _refusal(path, "the neighbours of a photo are not distinct photos of the set")
    if len(pairs["photo"]):
        rank = pairs["neighbor_rank"].astype(np.int64)
        if rank.min() < 1 or rank.max() > k:
            raise _refusal(path, "a pair has a neighbour that its photo does not have")
        keys = own[neighbor[pairs["photo"], rank - 1]]
        ends = ((pairs["query"], own[pairs["photo"]]), (pairs["key"], keys))
        if any((at < 0).any() or (at >= limit).any() for at, limit in ends):
            raise _refusal(path, "a pair names a RoI that its photo does not have")
    for values in (near["similarity"], pairs["similarity"]):
        if not (np.abs(values) <= 1 + TOLERANCE).all():
            raise _refusal(path, "a similarity is no cosine")
    _check_raw(path, tables.get("raw_boxes"), photos)


def _check_photos(path: Path, photos: dict[str, Any]) -> None:
    sides = np.stack([photos["width"], photos["height"]])
    if sides.min() < 1 or sides.max() > np.iinfo(np.int16).max * 4 or photos["raw_count"].min() < 0:
        raise _refusal(path, "a photo has an impossible size")
    if not photos["digest"].all():
        raise _refusal(path, "a photo has no digest")
    for name in photos["path"]:
        if not name or "\0" in name:
            raise _refusal(path, "a photo has no name")


def _in_order(path: Path, name: str, table: dict[str, Any], count: int) -> None:
    """Refuse rows that are not in the order of photos and ranks, with ranks from 1 without gaps."""
    photo, rank = table["photo"].astype(np.int64), table["rank"].astype(np.int64)
    if not len(photo):
        return
    group = photo << 16 | (table["neighbor_rank"].astype(np.int64) if "neighbor_rank" in table else 0)
    new = np.append(True, np.diff(group) != 0)
    expected = np.arange(len(group)) - np.maximum.accumulate(np.where(new, np.arange(len(group)), 0)) + 1
    if photo.min() < 0 or photo.max() >= count or (np.diff(group) < 0).any() or (rank != expected).any():
        raise _refusal(path, f"the rows of its table {name} are not in order")


def _check_raw(path: Path, raw: dict[str, Any] | None, photos: dict[str, Any]) -> None:
    if raw is None or not len(raw["photo"]):
        return
    if raw["photo"].min() < 0 or raw["photo"].max() >= len(photos["path"]) or (np.diff(raw["photo"]) <= 0).any():
        raise _refusal(path, "the rows of its table raw_boxes are not in order")
    for number, content in zip(raw["photo"].tolist(), raw["boxes"], strict=True):
        if len(content) % 8:
            raise _refusal(path, "its raw boxes are damaged")
        x, y, w, h = np.frombuffer(content, "<i2").reshape(-1, 4).astype(np.int64).T
        width, height = photos["width"][number], photos["height"][number]
        if ((x < 0) | (y < 0) | (w < 1) | (h < 1) | (x + w > width) | (y + h > height)).any():
            raise _refusal(path, "a raw box is not inside its photo")
