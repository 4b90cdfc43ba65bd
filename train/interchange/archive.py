"""A set as one archive: a zip of a manifest and of tables (Parquet), for another machine that has the photos.

Tables are stored in the zip without further compression. The manifest comes last, with the size and digest of each.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Encoder, Image
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.proposals import proposals_of
from orl_explorer.db.sets import read
from orl_explorer.train.errors import UserError
from orl_explorer.train.interchange.pieces import SIZE, Sink, through
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.digest import photos_digest, set_digest
from orl_explorer.train.mining.features import photo_keys
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.photos import known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

FORMAT, VERSION = "ORL Explorer set", 1
MANIFEST = "manifest.json"
BLOCK = 256  # photos of a batch of rows

_INT = pa.int32()
_BOX = [(name, pa.int16()) for name in "xywh"]
# Photos are numbered from 0 in the order of `photos`. RoIs count from 0 within their photo, ranks from 1.
SCHEMAS = {
    "photos": pa.schema(
        [
            ("path", pa.string()),
            ("digest", pa.int64()),
            ("width", _INT),
            ("height", _INT),
            ("raw_count", _INT),
            ("fallback", pa.bool_()),
        ]
    ),
    "rois": pa.schema([("photo", _INT), ("rank", pa.int16()), *_BOX, ("objectness", pa.float32())]),
    "neighbors": pa.schema([("photo", _INT), ("rank", pa.int16()), ("neighbor", _INT), ("similarity", pa.float32())]),
    "pairs": pa.schema(
        [
            ("photo", _INT),
            ("neighbor_rank", pa.int16()),
            ("rank", pa.int16()),
            ("query", pa.int16()),
            ("key", pa.int16()),
            ("similarity", pa.float32()),
            ("margin", pa.float32()),
            ("cycle", pa.bool_()),
        ]
    ),
    "raw_boxes": pa.schema([("photo", _INT), ("boxes", pa.binary())]),
}


def archive_pieces(
    workspace: Workspace, mined: CorrespondenceSet, *, raw_boxes: bool = True, progress: Progress | None = None
) -> Iterator[bytes]:
    """Yield the bytes of an archive of a complete set. raw_boxes: include the boxes that its RoIs were filtered from.

    Raises UserError if a photo has no digest, or the set lacks numbers.
    """
    progress = progress or Progress()
    images = _photos(workspace, mined, progress)
    tables: dict[str, Callable[[], Iterable[pa.RecordBatch]]] = {
        "photos": lambda: _photo_rows(workspace, mined, images),
        "rois": lambda: _roi_rows(workspace, mined, images),
        "neighbors": lambda: _neighbor_rows(workspace, mined, images),
        "pairs": lambda: _pair_rows(workspace, mined, images),
    }
    if raw_boxes and MineConfig.of(mined).proposals not in ("annotations", "map"):
        tables["raw_boxes"] = lambda: _raw_rows(workspace, mined, images)
    progress.phase("Writing tables", len(tables) + 1)
    buffer = Sink()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        written = {}
        for name, batches in tables.items():
            size, sha, rows = 0, hashlib.sha256(), _Counted(batches())
            with archive.open(f"{name}.parquet", "w", force_zip64=True) as file:
                for piece in through(partial(_table, SCHEMAS[name]), rows):
                    file.write(piece)
                    sha.update(piece)
                    size += len(piece)
                    yield from buffer.take(SIZE)
            written[name] = {"rows": rows.rows, "bytes": size, "sha256": sha.hexdigest()}
            progress.advance()
        content = json.dumps(manifest_of(workspace, mined, images, written), indent=1).encode()
        archive.writestr(zipfile.ZipInfo(MANIFEST), content)  # equal sets make equal files
        progress.advance()
    yield from buffer.take()


def _table(schema: pa.Schema, sink: Any) -> parquet.ParquetWriter:
    return parquet.ParquetWriter(sink, schema, compression="zstd")


class _Counted:
    """Batches of rows, whose number is known when they have been taken."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches, self.rows = batches, 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def manifest_of(
    workspace: Workspace, mined: CorrespondenceSet, images: list[Image], tables: dict[str, Any]
) -> dict[str, Any]:
    """Return what an archive says about itself. It names no folder of this machine."""
    encoder = encoder_by_id(workspace.store, mined.encoder_id)
    return {
        "format": FORMAT,
        "version": VERSION,
        "set": {
            "name": mined.name,
            "mined_at": mined.created_at.isoformat(timespec="seconds"),
            "settings": mined.params,
            "photos": mined.image_count,
            "rois": mined.candidate_count,
            "pairs": mined.pair_count,
            "digest": set_digest(workspace.store, mined),
            "photos_digest": photos_digest(photo_keys(images)),
        },
        "dataset": dataset_by_id(workspace.store, mined.dataset_id).name,
        "encoder": {
            "name": encoder.name,
            "architecture": encoder.architecture,
            "weights_sha256": encoder.weights_sha256,
            "supervised": encoder.supervised,
            "image_features": encoder.image_features,
            "roi_features": encoder.roi_features,
            "reading": encoder.reading,
            "source": _public(encoder),
        },
        "made_by": f"ORL Explorer {version('orl-explorer')}",
        "tables": tables,
    }


def _public(encoder: Encoder) -> str:
    """Return the source of an encoder, if it can be had elsewhere: no paths."""
    return encoder.source if encoder.source.startswith(("starter", "torchvision:", "timm:")) else ""


def _photos(workspace: Workspace, mined: CorrespondenceSet, progress: Progress) -> list[Image]:
    """Return the photos of a set by path, each with a digest."""
    images = list(read.set_images(workspace.store, mined.id))
    if any(image.digest is None for image in images):  # ingested by an early version
        known_photos(workspace, dataset_by_id(workspace.store, mined.dataset_id), progress)
        images = list(read.set_images(workspace.store, mined.id))
    if lacking := next((image.path for image in images if image.digest is None), None):
        raise UserError(
            f"The file of {lacking} has changed or is gone, and no digest of it is known. An archive names photos by "
            "their digests. Restore the file, or mine the set again."
        )
    return sorted(images, key=lambda image: (image.path, image.id))


def _batch(name: str, rows: list[tuple[Any, ...]]) -> Iterator[pa.RecordBatch]:
    if rows:
        schema = SCHEMAS[name]
        columns = zip(zip(*rows, strict=True), schema, strict=True)
        yield pa.record_batch([pa.array(values, field.type) for values, field in columns], schema=schema)


def _photo_rows(workspace: Workspace, mined: CorrespondenceSet, images: list[Image]) -> Iterator[pa.RecordBatch]:
    for some in batched(images, BLOCK):
        own = read.set_rows_of(workspace.store, mined.id, [image.id for image in some])
        counts = [(own[image.id].raw_count, own[image.id].fallback) for image in some]
        facts = [(image.path, image.digest, image.width, image.height) for image in some]
        yield from _batch("photos", [(*fact, *count) for fact, count in zip(facts, counts, strict=True)])


def _roi_rows(workspace: Workspace, mined: CorrespondenceSet, images: list[Image]) -> Iterator[pa.RecordBatch]:
    uses = MineConfig.of(mined).needs_objectness
    for start in range(0, len(images), BLOCK):
        some = images[start : start + BLOCK]
        own = read.rois_of(workspace.store, mined.id, [image.id for image in some])
        yield from _batch(
            "rois",
            [
                (number, rank, *box, score if uses else None)
                for number, image in enumerate(some, start)
                for rank, (box, score) in enumerate(
                    zip(own[image.id].boxes.tolist(), own[image.id].objectness.tolist(), strict=True), 1
                )
            ],
        )


def _neighbor_rows(workspace: Workspace, mined: CorrespondenceSet, images: list[Image]) -> Iterator[pa.RecordBatch]:
    number = {image.id: at for at, image in enumerate(images)}
    for some in batched(images, BLOCK):
        near = read.neighbor_rows(workspace.store, mined.id, [image.id for image in some])
        yield from _batch(
            "neighbors",
            [
                (number[image.id], rank, number[neighbor], similarity)
                for image in some
                for rank, neighbor, similarity in near[image.id]
            ],
        )


def _pair_rows(workspace: Workspace, mined: CorrespondenceSet, images: list[Image]) -> Iterator[pa.RecordBatch]:
    number = {image.id: at for at, image in enumerate(images)}
    for some in batched(images, BLOCK):
        found = read.pair_rows(workspace.store, mined.id, [image.id for image in some])
        involved = {i for own in found.values() for pair in own for i in (pair.neighbor_id,)} | {i.id for i in some}
        rois = read.rois_of(workspace.store, mined.id, list(involved))
        place = {i: {roi: at for at, roi in enumerate(own.ids.tolist())} for i, own in rois.items()}
        rows = [
            (
                *(number[image.id], pair.neighbor_rank, pair.rank),
                *(place[image.id][pair.query_roi_id], place[pair.neighbor_id][pair.key_roi_id]),
                *(pair.similarity, pair.margin, pair.cycle),
            )
            for image in some
            for pair in found[image.id]
        ]
        if any(row[-1] is None for row in rows):
            raise UserError(f"An early version mined '{mined.name}', without margins and cycles. Mine the set again.")
        yield from _batch("pairs", rows)


def _raw_rows(workspace: Workspace, mined: CorrespondenceSet, images: list[Image]) -> Iterator[pa.RecordBatch]:
    method = MineConfig.of(mined).method
    for start in range(0, len(images), BLOCK):
        some = images[start : start + BLOCK]
        raw = proposals_of(workspace.store, [image.id for image in some], method)
        there = [(number, raw[image.id]) for number, image in enumerate(some, start) if image.id in raw]
        yield from _batch("raw_boxes", [(number, np.asarray(own, "<i2").tobytes()) for number, own in there])
