"""Import of the reference's files: proposals of a dataset, and whole correspondence sets."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeVar
from uuid import uuid4

import numpy as np

from orl_explorer.db.models import Dataset, Encoder, Image, Run
from orl_explorer.db.photos import current_images, usable_images
from orl_explorer.db.proposals import drop_proposals, keep_proposals, missing_proposals, proposals_of
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import said_plainly
from orl_explorer.train.ingest.coco import coco_json
from orl_explorer.train.ingest.named_photos import positions
from orl_explorer.train.interchange import reference
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.jobs.names import refuse_taken_set
from orl_explorer.train.mining.by_vectors import check_vectors, settings_by
from orl_explorer.train.mining.config import OWN_SOURCES, MineConfig, imported_method
from orl_explorer.train.mining.forward import batched
from orl_explorer.train.mining.given import FILE, Given
from orl_explorer.train.mining.mine import BLOCK, check
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.workspace import Workspace

T = TypeVar("T")


@dataclass(frozen=True)
class ImportedProposals:
    """Result of an import of proposals: number of photos, of boxes, and of unreadable photos that were skipped."""

    photos: int
    boxes: int
    unreadable: int


def import_proposals(
    workspace: Workspace,
    file: Path,
    dataset: Dataset,
    name: str,
    *,
    images: Path | None = None,
    progress: Progress | None = None,
) -> ImportedProposals:
    """Store the raw boxes of a file; ``MineConfig(proposals=name)`` then mines with them.

    images: the COCO json that gives the order of the file; by default the only one in the dataset's folder annotations.
    The store is written after the whole file has been read and checked. Photos that have the same boxes already, such
    as those of a killed import, keep them. Raises UserError, also if photos have other boxes, or StoreError.
    """
    progress = progress or Progress()
    method = imported_method(_free_for_import(name))
    photos = _listed(workspace, dataset, images)
    readable = [photo.id for photo in photos if photo.status == "ok"]
    if not missing_proposals(workspace.store, readable, method):
        raise UserError(f"The dataset '{dataset.name}' already has proposals '{name}'. Choose another name.")

    progress.phase("Reading proposals", len(photos))
    counts = array("q")
    with said_plainly(workspace.path), TemporaryFile(dir=workspace.path) as kept:
        for number, boxes in enumerate(_as_many(reference.read_proposals(file), len(photos), file, "proposals")):
            if photos[number].status == "ok":
                check_inside(boxes, photos[number], file)
            kept.write(boxes.astype("<i2").tobytes())
            counts.append(len(boxes))
            progress.advance()
        blocks = partial(_kept_blocks, kept, photos, counts)
        _refuse_other_boxes(workspace, blocks(), method, photos, f"{file} than in '{name}' of '{dataset.name}'")
        progress.phase("Storing proposals", len(photos))
        stored: list[int] = []
        try:
            for block in blocks():
                stored += keep_proposals(workspace.store, method, block)
                progress.advance(len(block))
        except BaseException:
            with contextlib.suppress(Exception):
                drop_proposals(workspace.store, stored, method)
            raise
    workspace.log("add", f"proposals {name}", f"of dataset {dataset.name}")
    return ImportedProposals(len(readable), sum(counts), len(photos) - len(readable))


def _kept_blocks(kept: IO[bytes], photos: list[Image], counts: Sequence[int]) -> Iterator[dict[int, np.ndarray]]:
    """Yield the boxes of the readable photos by image id, in blocks. kept: those of all photos, one by one."""
    kept.seek(0)
    for some in batched(zip(photos, counts, strict=True), BLOCK):
        own = [(photo, np.frombuffer(kept.read(8 * count), "<i2").reshape(-1, 4)) for photo, count in some]
        yield {photo.id: boxes for photo, boxes in own if photo.status == "ok"}


def _refuse_other_boxes(
    workspace: Workspace, blocks: Iterable[Mapping[int, np.ndarray]], method: str, photos: list[Image], where: str
) -> None:
    """Raise UserError if photos have other boxes by this method: a set may have been mined with those."""
    differ: set[int] = set()
    for block in blocks:
        there = proposals_of(workspace.store, list(block), method)
        differ.update(image_id for image_id, boxes in there.items() if not np.array_equal(boxes, block[image_id]))
    if differ:
        first = next(photo.path for photo in photos if photo.id in differ)
        have = "photo has" if len(differ) == 1 else "photos have"
        raise UserError(f"{len(differ)} {have} other boxes in {where}, such as {first}. Choose another name.")


def import_correspondences(
    workspace: Workspace,
    file: Path,
    dataset: Dataset,
    encoder: Encoder,
    name: str,
    *,
    proposals: str | None = None,
    placed: Placement | None = None,
    progress: Progress | None = None,
) -> Run:
    """Read a file of correspondences and queue the run that makes a set from it.

    encoder: measures the similarities, which the file does not contain. proposals: name of the imported raw boxes
    that the file's RoIs were filtered from; by default the RoIs are stored as raw boxes under the name of the set.
    placed: where the run works.
    Nothing is written unless the whole file is valid. Raises UserError or StoreError.
    """
    progress = progress or Progress()
    settings = reference.read_settings(file) | {"proposals": _free_for_import(proposals or name)}
    config = with_settings(MineConfig(), settings)
    # RoIs that will be stored as proposals do not exist yet.
    to_check = config if proposals else config.model_copy(update={"proposals": "search"})
    check(workspace, dataset, encoder, name, to_check)
    refuse_taken_set(workspace, name)
    current = list(current_images(workspace.store, dataset.id))
    ids = [image.id for image in current]
    if proposals is None and len(missing_proposals(workspace.store, ids, config.method)) < len(ids):
        raise UserError(
            f"Imported proposals '{name}' already exist. Use them with --proposals {name}, or choose another name."
        )
    paths = Photos.of(workspace.store, dataset.id).names(current)
    found = positions(reference.read_images(file), paths, file, f"the dataset '{dataset.name}'")
    photos = [current[at] for at in found]
    for photo in photos:
        if photo.status != "ok":
            raise UserError(f"Cannot read {photo.path} of '{dataset.name}': {photo.error}.")
    given = _read(file, photos, config.neighbors, progress)
    return _launch(workspace, dataset, encoder, name, config, given, file, placed)


def import_neighbors(
    workspace: Workspace,
    file: Path,
    dataset: Dataset,
    encoder: Encoder,
    name: str,
    config: MineConfig,
    *,
    placed: Placement | None = None,
    progress: Progress | None = None,
) -> Run:
    """Read a file of neighbours and queue the mining of RoIs and pairs between them.

    config: all settings but K, which the file contains. encoder: measures the neighbours and matches RoIs. placed:
    where the run works. Nothing is written unless the whole file is valid and has every readable photo. Raises
    UserError or StoreError.
    """
    progress = progress or Progress()
    count = reference.read_neighbor_count(file)
    config = settings_by(encoder, with_settings(config, {"neighbors": count}))
    check_vectors(workspace, dataset, encoder, config)
    check(workspace, dataset, encoder, name, config)
    refuse_taken_set(workspace, name)
    images = list(usable_images(workspace.store, dataset.id))
    paths = Photos.of(workspace.store, dataset.id).names(images)
    found = positions(reference.read_images(file), paths, file, f"the dataset '{dataset.name}'")
    if len(found) < len(images):
        first = paths[min(set(range(len(paths))) - set(found))]
        raise UserError(f"{len(images) - len(found)} photos of '{dataset.name}', such as {first}, are not in {file}.")
    photos = [images[at] for at in found]
    progress.phase("Reading neighbours", len(photos))
    given = Given(
        image_ids=np.array([photo.id for photo in photos], np.int64),
        start=np.zeros(len(photos) + 1, np.int64),
        boxes=np.empty((0, 4), np.int16),
        neighbors=_read_neighbors(file, photos, count, progress),
        pair_start=np.zeros(len(photos) * count + 1, np.int64),
        pairs=np.empty((0, 2), np.int16),
    )
    return _launch(workspace, dataset, encoder, name, config, given, file, placed)


def _launch(
    workspace: Workspace,
    dataset: Dataset,
    encoder: Encoder,
    name: str,
    config: MineConfig,
    given: Given,
    file: Path,
    placed: Placement | None,
) -> Run:
    """Queue the run that makes a set from the imported arrays."""
    job = Mine(name=name, dataset_id=dataset.id, encoder_id=encoder.id, config=config, imported=str(file))
    kept = workspace.path / f".{uuid4()}.npz"
    try:
        with said_plainly(workspace.path):
            given.save(kept)
            return launch(workspace, job, {FILE: kept}, placed)
    finally:
        kept.unlink(missing_ok=True)


def _free_for_import(name: str) -> str:
    if not name.strip() or name in OWN_SOURCES:
        raise UserError(f"Invalid name for imported proposals: {name}. Choose another name.")
    return name


def _listed(workspace: Workspace, subject: Dataset, images: Path | None) -> list[Image]:
    """Return the photos of a COCO json, in its order."""
    file = images or coco_json(Path(subject.root))
    if file is None:
        raise UserError(
            f"{subject.root} does not hold exactly one annotations/*.json. Name the COCO file that gives the order of "
            "the proposals with --images FILE."
        )
    current = list(current_images(workspace.store, subject.id))
    paths = Photos.of(workspace.store, subject.id).names(current)
    found = positions(reference.read_listing(file).names, paths, file, f"the dataset '{subject.name}'")
    others = {n for n, image in enumerate(current) if image.status == "ok"} - set(found)
    if others:
        first = current[min(others)].path
        raise UserError(f"{len(others)} photos of '{subject.name}', such as {first}, are not in {file}.")
    return [current[n] for n in found]


def _read(file: Path, photos: list[Image], neighbors: int, progress: Progress) -> Given:
    """Read and check the three arrays of a correspondence file, one after the other."""
    progress.phase("Reading RoIs, neighbours and pairs", 3 * len(photos))
    rois = _read_rois(file, photos, progress)
    nearest = _read_neighbors(file, photos, neighbors, progress)
    pair_start, pairs = array("q", [0]), array("h")
    lists = _as_many(reference.read_pairs(file), len(photos), file, "pairs")
    for number, (own, of_photo) in enumerate(zip(nearest.tolist(), lists, strict=True)):
        if len(of_photo) != neighbors:
            said = f"{len(of_photo)} of its {neighbors} neighbours"
            raise UserError(f"{file}: {photos[number].path} has pairs with {said}.")
        query = _numbered(rois[number])
        for neighbor, found in zip(own, of_photo, strict=True):
            key = _numbered(rois[neighbor])
            for pair in found.tolist():
                for box, known, photo in ((pair[:4], query, number), (pair[4:], key, neighbor)):
                    if tuple(box) not in known:
                        said = f"{box}, which is not a RoI of {photos[photo].path}"
                        raise UserError(f"{file}: a pair of {photos[number].path} names the box {said}.")
                    pairs.append(known[tuple(box)])
            pair_start.append(len(pairs) // 2)
        progress.advance()
    return Given(
        image_ids=np.array([photo.id for photo in photos], np.int64),
        start=np.cumsum([0, *map(len, rois)]),
        boxes=np.concatenate(rois),
        neighbors=nearest,
        pair_start=np.array(pair_start),
        pairs=np.array(pairs).reshape(-1, 2),
    )


def _read_rois(file: Path, photos: list[Image], progress: Progress) -> list[np.ndarray]:
    rois = []
    for photo, own in zip(photos, _as_many(reference.read_rois(file), len(photos), file, "RoIs"), strict=True):
        if not len(own):
            raise UserError(f"{file}: {photo.path} has no RoI.")
        check_inside(own, photo, file)
        rois.append(own)
        progress.advance()
    return rois


def _read_neighbors(file: Path, photos: list[Image], count: int, progress: Progress) -> np.ndarray:
    nearest = np.empty((len(photos), count), np.int32)
    lists = _as_many(reference.read_neighbors(file), len(photos), file, "neighbours")
    for number, (photo, found) in enumerate(zip(photos, lists, strict=True)):
        if len(found) != count:
            raise UserError(f'{file}: {photo.path} has {len(found)} neighbours, but "knn_image_num" is {count}.')
        unknown = found[(found < 0) | (found >= len(photos))]
        if len(unknown):
            said = f"{unknown[0]}, but images are numbered 0 to {len(photos) - 1}"
            raise UserError(f"{file}: {photo.path} has the neighbour {said}.")
        if len(np.unique(found)) < count:
            raise UserError(f"{file}: {photo.path} has a neighbour twice. Name each once.")
        nearest[number] = found
        progress.advance()
    return nearest


def _numbered(rois: np.ndarray) -> dict[tuple[int, ...], int]:
    """Return the index of each RoI by its box; of equal boxes, the first."""
    return {tuple(box): number for number, box in reversed(list(enumerate(rois.tolist())))}


def _as_many(items: Iterable[T], count: int, file: Path, what: str) -> Iterator[T]:
    """Yield the items. Raises UserError unless their number is ``count``."""
    seen = 0
    for item in items:
        seen += 1
        if seen > count:
            raise UserError(f"{file} has {what} of more images than the {count} that it lists.")
        yield item
    if seen < count:
        raise UserError(f"{file} has {what} of {seen} images, but lists {count}.")


def check_inside(boxes: np.ndarray, photo: Image, file: Path) -> None:
    """Raise UserError unless all boxes, int16 [M, 4], are inside their photo. file: where they are from."""
    x, y, w, h = boxes.astype(np.int64).T
    outside = (x < 0) | (y < 0) | (w < 1) | (h < 1) | (x + w > photo.width) | (y + h > photo.height)
    if outside.any():
        raise UserError(
            f"{file}: the box {boxes[outside][0].tolist()} is not inside {photo.path}, which is "
            f"{photo.width} x {photo.height}."
        )
