"""Proposals and features of one part of a dataset, written to a file. Any machine can do it; the store is only read.

All machines agree on the parts: photos in the order of their paths and digests, cut into n parts of equal size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from orl_explorer.db.models import Dataset, Encoder, Image
from orl_explorer.db.photos import usable_images
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.orl.pixels import file_digest
from orl_explorer.train.encoders.precision import refuse_precision
from orl_explorer.train.encoders.vectors import refuse_vectors
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import refuse_missing_root
from orl_explorer.train.mining.candidates import candidates, raw_boxes, searches, with_map
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embed import shot_of
from orl_explorer.train.mining.embeddings import DTYPE, VERSION, FeatureKind
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys, widths_of
from orl_explorer.train.mining.forward import FeatureOf, Shot, batched
from orl_explorer.train.mining.part_files import PartFile, PhotoKey, RowLayout, UnfinishedPart, unfinished
from orl_explorer.train.mining.place import WorkPlace
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

BLOCK = 64  # photos that are searched, or whose RoIs are filtered, between two writes
ROWS = 256  # rows of features between two writes
SEARCH = ("proposal_scale", "segment_size")  # settings of selective search
EMBEDDING = (  # settings on which features and the RoIs to embed depend
    *("min_size", "max_aspect", "max_iou", "max_rois", "spread_after", "spread_iou", "ranked_by"),
    *("scored_by", "fallback", "proposals", *SEARCH, "precision", "object_weight"),
)
BOXES = {"boxes": RowLayout("<i2", 4)}
DOING = {
    "images": "Embedding photos",
    "attention": "Computing attention maps",
    "boxes": "Finding boxes on maps",
    "rois": "Embedding RoIs",
}
LOST = -1  # number of boxes of a photo that could not be read
KINDS: dict[FeatureOf, FeatureKind] = {
    "images": "images",
    "attention": "attention-and-looks",
    "boxes": "map-boxes",
    "rois": "rois",
}


@dataclass(frozen=True)
class Part:
    """The part ``number`` of ``count``, from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read *i/n*. Raises UserError."""
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise UserError(f"Invalid value for part: {text}. Use i/n with i from 1 to n, such as 1/3.")
        return cls(int(number), int(count))

    def of(self, images: Sequence[Image]) -> list[Image]:
        """Return the photos of the part."""
        bounds = [len(images) * n // self.count for n in (self.number - 1, self.number)]
        return list(images[bounds[0] : bounds[1]])


@dataclass(frozen=True)
class Written:
    """Result of a part: photos in it, rows in its file by section, photos that could not be read.

    new: whether the file was written now; else it was there, of the same photos and settings.
    """

    photos: int
    rows: dict[str, int]
    lost: int
    new: bool


def photo_key(image: Image) -> PhotoKey:
    """Return what identifies a photo in any store: all that its boxes and features depend on."""
    return image.path, image.digest or 0


def in_order(workspace: Workspace, dataset: Dataset) -> list[Image]:
    """Return the readable photos of a dataset in the order in which parts are cut. Raises UserError.

    Photos that were ingested without a digest get one, in memory alone.
    """
    images, photos = list(usable_images(workspace.store, dataset.id)), Photos.of(workspace.store, dataset.id)
    for image in (image for image in images if image.digest is None):
        try:
            image.digest = file_digest(photos.path(image))
        except OSError as error:
            raise UserError(
                f"Cannot read {photos.path(image)}: {error.strerror}. Run `orl ingest` on its folder again."
            ) from error
    return sorted(images, key=photo_key)


def propose_part(
    workspace: Workspace,
    dataset: Dataset,
    config: MineConfig,
    part: Part,
    out: Path,
    place: WorkPlace,
    progress: Progress | None = None,
) -> Written:
    """Write the raw boxes of a part's photos to a file. Continues an interrupted attempt. Raises UserError."""
    progress = progress or Progress()
    images, photos = _photos_of(workspace, dataset, part)
    described = _described("proposals", dataset, part) | {"settings": {"method": config.method}}
    with unfinished(out, described, BOXES, [photo_key(image) for image in images]) as writing:
        if writing is None:
            return _written(out, new=False)
        counts: list[int] = writing.notes("boxes")
        todo = images[len(counts) :]
        progress.phase("Running selective search", len(todo))
        found = place.search(searches(todo, photos, config), len(todo), progress)
        for block in batched(found, BLOCK):
            for number, boxes in enumerate(block, len(counts)):
                if isinstance(boxes, str):
                    progress.log(f"Skipped {images[number].path}: {boxes}.")
                    writing.lose(number, boxes)
            own = [np.empty((0, 4), np.int16) if isinstance(boxes, str) else boxes for boxes in block]
            notes = [LOST if isinstance(boxes, str) else len(boxes) for boxes in block]
            writing.append("boxes", np.concatenate(own), notes)
            progress.advance(len(block))
        writing.finish({"counts": np.array(counts, np.int32)}, _versions("opencv-contrib-python", "numba"))
    return _written(out, new=True)


def embed_part(
    workspace: Workspace,
    dataset: Dataset,
    encoder: Encoder,
    config: MineConfig,
    part: Part,
    out: Path,
    place: WorkPlace,
    *,
    boxes: Sequence[Path] = (),
    device: str = "cpu",
    progress: Progress | None = None,
) -> Written:
    """Write the features of a part's photos, and of the RoIs that mining would filter from their raw boxes, to a file.

    boxes: files of ``propose_part`` with the raw boxes; by default those in the store. Continues an interrupted
    attempt. Raises UserError.
    """
    progress = progress or Progress()
    refuse_precision(encoder, config.precision)
    refuse_vectors(encoder, "`orl embed --part`")
    images, photos = _photos_of(workspace, dataset, part)
    source = _Boxes(workspace, config, images, boxes)
    features = Features(workspace, encoder, device, config.precision)
    used = {"images": True, "attention": config.needs_objectness, "boxes": config.maps_boxes, "rois": True}
    views = [view for view in KINDS if used[view]]
    widths = widths_of(encoder)
    layouts: dict[str, RowLayout] = {KINDS[view]: RowLayout(DTYPE, widths[KINDS[view]]) for view in views}
    described = _described("features", dataset, part) | {
        "settings": {name: getattr(config, name) for name in EMBEDDING} | {"keys": VERSION},
        "encoder": {"name": encoder.name, "weights_sha256": encoder.weights_sha256},
    }
    with unfinished(out, described, layouts, [photo_key(image) for image in images]) as writing:
        if writing is None:
            return _written(out, new=False)
        maker = _Maker(writing, features, place, images, photos, progress)
        for view in views:
            maker.fill(view, source, config)
        keys = {f"{KINDS[view]}-keys": np.array(writing.notes(KINDS[view]), np.int64) for view in views}
        writing.finish(keys, _versions("torch", "onnxruntime") | {"device": device})
    return _written(out, new=True)


class _Boxes:
    """The raw boxes of photos: from files of ``propose_part``, else from the store."""

    def __init__(
        self, workspace: Workspace, config: MineConfig, images: Sequence[Image], files: Sequence[Path]
    ) -> None:
        self._store, self._config = workspace.store, config
        self._in_file: dict[PhotoKey, np.ndarray] = {}
        if files and not config.searches:
            raise UserError(f"Files of boxes hold selective search, but the proposals are {config.proposals}.")
        asked = {photo_key(image) for image in images}
        for file in files:
            self._in_file |= _boxes_of(PartFile.read(file), config, asked)
        missing = [image for image in images if photo_key(image) not in self._in_file]
        if config.proposals not in ("annotations", "map"):
            lacking = {*missing_proposals(workspace.store, [image.id for image in missing], config.method)}
            missing = [image for image in missing if image.id in lacking]
            if missing:
                raise UserError(
                    f"{plural(len(missing), 'photo')} of this part, such as {missing[0].path}, have no raw boxes "
                    f"'{config.method}', neither in the store nor in the files given by --boxes. Make them with "
                    "`orl propose`."
                )

    def of(self, images: Sequence[Image]) -> dict[int, np.ndarray | None]:
        """Return raw boxes int16 [M, 4] by image id; None for a photo that could not be searched."""
        here = {image.id: self._in_file.get(photo_key(image)) for image in images}
        others = [image for image in images if photo_key(image) not in self._in_file]
        return here | dict(raw_boxes(self._store, others, self._config))


def _boxes_of(part: PartFile, config: MineConfig, asked: Collection[PhotoKey]) -> dict[PhotoKey, Any]:
    """Return raw boxes by photo; None for a photo that could not be searched."""
    if part.description["kind"] != "proposals":
        raise UserError(f"{part.path} holds features. Give files of `orl propose`.")
    method = part.description["settings"]["method"]
    if method != config.method:
        raise UserError(f"{part.path} holds boxes '{method}', but the settings ask for '{config.method}'.")
    return {key: own for key, own in boxes_by_photo(part) if key in asked}


def boxes_by_photo(part: PartFile) -> Iterator[tuple[PhotoKey, np.ndarray | None]]:
    """Yield the photos of a part and their raw boxes, int16 [M, 4], memory-mapped; None if they could not be read."""
    boxes, start = part.section("boxes"), 0
    for key, count in zip(part.photos, part.section("counts").tolist(), strict=True):
        yield key, None if count == LOST else boxes[start : start + count]
        start += max(0, count)


@dataclass(frozen=True)
class _Maker:
    """Fills the sections of features of a part."""

    writing: UnfinishedPart
    features: Features
    place: WorkPlace
    images: list[Image]
    photos: Photos
    progress: Progress

    def fill(self, view: FeatureOf, boxes: _Boxes, config: MineConfig) -> None:
        """Compute the rows of a section that it does not have yet."""
        section, have = KINDS[view], set(self.writing.notes(KINDS[view]))
        readable = [image for number, image in enumerate(self.images) if number not in self.writing.lost]
        if view == "rois":
            shots = self._rois(readable, have, boxes, config)
            total = len(readable)
        else:
            missing = {
                key: i for key, i in zip(photo_keys(readable).tolist(), readable, strict=True) if key not in have
            }
            shots = (shot_of(image, self.photos, np.array([key])) for key, image in missing.items())
            total = len(missing)
        self.progress.phase(DOING[view], total)
        told = Progress() if view == "rois" else self.progress  # its photos are counted, not its rows
        failed: dict[int, str] = {}
        keys, rows = list[np.ndarray](), list[np.ndarray]()

        def write_down() -> None:
            if rows:
                self.writing.append(section, np.concatenate(rows), np.concatenate(keys).tolist())
                keys.clear()
                rows.clear()

        for some, vectors in self.place.embed(view, self.features, shots, failed, told):
            keys.append(some)
            rows.append(vectors)
            if sum(map(len, keys)) >= ROWS:
                write_down()
                self.progress.check()
        write_down()
        for number, image in enumerate(self.images):
            if image.id in failed:
                self.progress.log(f"Skipped {image.path}: {failed[image.id]}.")
                self.writing.lose(number, failed[image.id])

    def _rois(self, images: list[Image], have: set[int], source: _Boxes, config: MineConfig) -> Iterator[Shot]:
        """Yield the RoIs that mining would filter, without those that have a row."""
        maps, map_boxes = self._written("attention", config.needs_objectness), self._written("boxes", config.maps_boxes)
        for block in batched(images, BLOCK):
            raw = source.of(block)
            for image in block:
                self.progress.advance()
                own = raw[image.id]
                if own is None:
                    continue  # it could not be read when it was searched: mining says so
                own = with_map(own, map_boxes(image), image)
                found = candidates(image, own, config, maps(image)).filtered.boxes
                keys = roi_keys(image.digest or 0, found)
                new = np.array([key not in have for key in keys.tolist()], bool)
                have.update(keys.tolist())
                if new.any():
                    yield shot_of(image, self.photos, keys[new], found[new])

    def _written(self, view: FeatureOf, used: bool) -> Callable[[Image], np.ndarray | None]:
        """Return what gives a photo's row of a section that is complete, or None if it is not used."""
        if not used:
            return lambda image: None
        rows = {key: row for row, key in enumerate(self.writing.notes(KINDS[view]))}
        section = self.writing.section(KINDS[view])
        return lambda image: np.asarray(section[rows[image.digest or 0]])


def _photos_of(workspace: Workspace, dataset: Dataset, part: Part) -> tuple[list[Image], Photos]:
    """Return the photos of a part. Raises UserError if the folder of any is not there."""
    images, photos = part.of(in_order(workspace, dataset)), Photos.of(workspace.store, dataset.id)
    for member in sorted({image.dataset_id for image in images}):
        refuse_missing_root(dataset.name, photos.roots[member])
    return images, photos


def _described(kind: str, dataset: Dataset, part: Part) -> dict[str, Any]:
    return {"kind": kind, "dataset": dataset.name, "part": part.number, "of": part.count}


def _versions(*packages: str) -> dict[str, str]:
    found = {"opencv": cv2.__version__, "numpy": np.__version__, "cores": str(os.cpu_count())}
    for name in ("orl-explorer", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _written(out: Path, new: bool) -> Written:
    part = PartFile.read(out)
    sections = ("boxes",) if part.description["kind"] == "proposals" else KINDS.values()
    rows = {name: part.rows(name) for name in sections if name in part}
    return Written(len(part.photos), rows, len(part.lost), new)
