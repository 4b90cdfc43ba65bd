"""Computing the features of photos and RoIs that are not on disk yet. Photos that cannot be read are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import PIL.Image

from orl_explorer.db.lost import Lost
from orl_explorer.db.models import Image
from orl_explorer.db.sets import read, write
from orl_explorer.orl.pixels import UnreadableImage, center_crop, crop_box, squeeze
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import leave_out, lost_as
from orl_explorer.train.mining.cost import ROIS
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features, finite, photo_keys, roi_keys
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress, map_ahead, timed
from orl_explorer.train.workspace import Workspace

BLOCK = 64  # images per transaction


class _OfPhoto(NamedTuple):
    """What is computed of each photo: names of the phase and of its result, the rows, and how a row is made.

    view: makes the network's input, uint8 [S, S, 3]. forward: uint8 [B, S, S, 3] -> float32 [B, D]. at_once: B.
    """

    doing: str
    done: str
    stored: Embeddings
    view: Callable[[PIL.Image.Image], np.ndarray]
    forward: Callable[[np.ndarray], np.ndarray]
    at_once: int


def embed_images(features: Features, images: list[Image], photos: Photos, progress: Progress) -> list[Image]:
    """Compute the image features that are not on disk yet. Returns the images that have one."""
    each = _OfPhoto(
        "Embedding photos",
        "Photos embedded",
        features.images,
        center_crop,
        lambda pixels: features.encoder.embed_images(pixels),
        features.batch,
    )
    return _add_photos(features, each, images, photos, progress)


def map_attention(features: Features, images: list[Image], photos: Photos, progress: Progress) -> list[Image]:
    """Compute the attention maps of photos that are not on disk yet. Returns the images that have one."""
    each = _OfPhoto(
        "Computing attention maps",
        "Attention maps",
        features.attention,
        squeeze,
        lambda pixels: features.encoder.attention(pixels),
        max(2, features.batch // 8),  # eight times the pixels of a crop; a single photo is doubled
    )
    return _add_photos(features, each, images, photos, progress)


def embed_rois(
    workspace: Workspace,
    set_id: int,
    features: Features,
    images: list[Image],
    photos: Photos,
    progress: Progress,
    *,
    settled: bool = False,
) -> list[Image]:
    """Compute the features of a set's candidates that are not on disk yet.

    Returns the images that have all. The others lose their candidates, or raise UserError if the set's photos are
    settled.
    """
    lost: dict[int, Lost] = {}
    count = sum(len(keys) for _, keys, _ in _unseen_boxes(workspace, set_id, features, images))
    progress.phase("Embedding RoIs", count)
    _tell_outdated(features.rois, progress)

    def crops(work: tuple[Image, np.ndarray, np.ndarray]) -> list[tuple[int, str, np.ndarray]]:
        image, keys, boxes = work
        photo = _read(photos, image, lost)
        if photo is None:
            return []
        return [(int(key), image.path, crop_box(photo, box)) for key, box in zip(keys, boxes, strict=True)]

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with ThreadPoolExecutor(2) as pool:
            each = (
                crop
                for found in map_ahead(pool, crops, _unseen_boxes(workspace, set_id, features, images), 4)
                for crop in found
            )
            for batch in batched(each, features.batch):
                keys, paths, pixels = zip(*batch, strict=True)
                yield np.array(keys), finite(features.encoder.embed_rois(np.stack(pixels)), paths, features.name)
                progress.advance(len(batch))

    with timed(progress, ROIS, count):
        added = features.rois.add(batches()) if count else 0
    if lost:
        first_path = next(image.path for image in images if image.id in lost)
        images = leave_out(workspace, images, photos, lost, progress)
        if settled:
            raise UserError(
                f"{len(lost)} photos of this set can no longer be read, such as {first_path}. Restore them and resume "
                "the run, or mine another set."
            )
        write.drop_candidates(workspace.store, set_id, lost)
        return embed_rois(workspace, set_id, features, images, photos, progress)  # RoIs of copies of a lost photo
    all_rois = write.candidate_count(workspace.store, set_id, [image.id for image in images])
    progress.log(f"RoIs embedded: {added}, reused: {all_rois - added}.")
    return images


def _add_photos(
    features: Features, each: _OfPhoto, images: list[Image], photos: Photos, progress: Progress
) -> list[Image]:
    """Compute and store what photos do not have yet. Returns the photos that have it now."""
    progress.phase(each.doing, each.stored.missing(photo_keys(images)))
    _tell_outdated(each.stored, progress)
    lost: dict[int, Lost] = {}

    def viewed(work: tuple[int, Image]) -> list[tuple[int, np.ndarray]]:
        key, image = work
        photo = _read(photos, image, lost)
        return [] if photo is None else [(key, each.view(photo))]

    def batches(unseen: dict[int, Image]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with ThreadPoolExecutor(2) as pool:
            views = (one for found in map_ahead(pool, viewed, unseen.items(), 2 * each.at_once) for one in found)
            for batch in batched(views, each.at_once):
                keys, pixels = zip(*batch, strict=True)
                paths = [unseen[key].path for key in keys]
                yield np.array(keys), finite(each.forward(np.stack(pixels)), paths, features.name)
                progress.advance(len(batch))

    added = 0
    while unseen := _unseen(each.stored, images):
        added += each.stored.add(batches(unseen))
        images = leave_out(features.workspace, images, photos, lost, progress)
        if not lost:
            break
        lost.clear()  # copies of a lost photo's file may still be there
    progress.log(f"{each.done}: {added}, reused: {len(images) - added}.")
    return images


def _unseen(stored: Embeddings, images: list[Image]) -> dict[int, Image]:
    """Return one photo for each key that has no row yet."""
    keys = photo_keys(images)
    missing = ~stored.have(keys)
    unseen: dict[int, Image] = {}
    for key, image in zip(keys[missing].tolist(), np.array(images, object)[missing].tolist(), strict=True):
        unseen.setdefault(key, image)
    return unseen


def _tell_outdated(stored: Embeddings, progress: Progress) -> None:
    if stored.outdated:
        progress.log(
            f"{stored.outdated} features were stored by an earlier version, without a record of their pixels. "
            "Computing them again."
        )


def _read(photos: Photos, image: Image, lost: dict[int, Lost]) -> PIL.Image.Image | None:
    """Decode a photo, or return None and note why it cannot be read."""
    try:
        return photos.read(image)
    except UnreadableImage as error:
        lost[image.id] = lost_as(photos, image, str(error))
        return None


def batched(items: Iterable, size: int) -> Iterator[list]:
    """Yield the items in lists of a size. The last one may be shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _unseen_boxes(
    workspace: Workspace, set_id: int, features: Features, images: list[Image]
) -> Iterator[tuple[Image, np.ndarray, np.ndarray]]:
    """Yield photos with the keys and boxes of RoIs that had no feature before this phase."""
    digests, copies = np.unique(photo_keys(images), return_counts=True)
    copied = set(digests[copies > 1].tolist())  # copies of one file may share boxes, and so keys
    have, seen = features.rois.have, set[int]()
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        rois = read.rois_of(workspace.store, set_id, [i.id for i in block])
        for image in block:
            boxes = rois[image.id].boxes
            keys = roi_keys(image.digest or 0, boxes)
            missing = ~have(keys)
            if image.digest in copied:
                missing &= ~np.isin(keys, list(seen))
                seen.update(keys.tolist())
            if missing.any():
                yield image, keys[missing], boxes[missing]
