"""Computing the features of photos and RoIs that are not on disk yet. Photos that cannot be read are left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from orl_explorer.db.lost import Lost
from orl_explorer.db.models import Image
from orl_explorer.db.sets import read, write
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import leave_out, lost_as
from orl_explorer.train.mining.cost import ROIS
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.forward import FeatureOf, Shot
from orl_explorer.train.mining.place import Here, WorkPlace
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress, timed
from orl_explorer.train.workspace import Workspace

BLOCK = 64  # images per transaction


class _OfPhoto(NamedTuple):
    """What is computed of each photo: names of the phase and of its result, the rows, and how a row is made."""

    doing: str
    done: str
    stored: Embeddings
    view: FeatureOf


def embed_images(
    features: Features, images: list[Image], photos: Photos, progress: Progress, place: WorkPlace | None = None
) -> list[Image]:
    """Compute the image features that are not on disk yet. Returns the images that have one."""
    each = _OfPhoto("Embedding photos", "Photos embedded", features.images, "images")
    return _add_photos(features, each, images, photos, progress, place or Here())


def map_attention(
    features: Features, images: list[Image], photos: Photos, progress: Progress, place: WorkPlace | None = None
) -> list[Image]:
    """Compute the attention maps of photos that are not on disk yet. Returns the images that have one."""
    each = _OfPhoto("Computing attention maps", "Attention maps", features.attention, "attention")
    return _add_photos(features, each, images, photos, progress, place or Here())


def map_boxes(
    features: Features, images: list[Image], photos: Photos, progress: Progress, place: WorkPlace | None = None
) -> list[Image]:
    """Compute the boxes on the encoder's maps of photos that are not on disk yet. Returns the images that have them."""
    each = _OfPhoto("Finding boxes on maps", "Boxes on maps", features.map_boxes, "boxes")
    return _add_photos(features, each, images, photos, progress, place or Here())


def embed_rois(
    workspace: Workspace,
    set_id: int,
    features: Features,
    images: list[Image],
    photos: Photos,
    progress: Progress,
    place: WorkPlace | None = None,
    *,
    settled: bool = False,
) -> list[Image]:
    """Compute the features of a set's candidates that are not on disk yet, here or at another place.

    Returns the images that have all. The others lose their candidates, or raise UserError if the set's photos are
    settled.
    """
    added, failed = add_rois(workspace, set_id, features, images, photos, progress, place)
    if lost := lost_of(failed, images, photos):
        first_path = next(image.path for image in images if image.id in lost)
        images = leave_out(workspace, images, photos, lost, progress)
        if settled:
            raise UserError(
                f"{len(lost)} photos of this set can no longer be read, such as {first_path}. Restore them and resume "
                "the run, or mine another set."
            )
        write.drop_candidates(workspace.store, set_id, lost)
        return embed_rois(
            workspace, set_id, features, images, photos, progress, place
        )  # RoIs of copies of a lost photo
    all_rois = write.candidate_count(workspace.store, set_id, [image.id for image in images])
    progress.log(f"RoIs embedded: {added}, reused: {all_rois - added}.")
    return images


def add_rois(
    workspace: Workspace,
    set_id: int,
    features: Features,
    images: list[Image],
    photos: Photos,
    progress: Progress,
    place: WorkPlace | None = None,
) -> tuple[int, dict[int, str]]:
    """Compute and store the features of a set's candidates on some photos that are not on disk yet.

    Returns their number, and the reasons why photos could not be read, by image id.
    """
    failed: dict[int, str] = {}
    count = sum(len(keys) for _, keys, _ in _unseen_boxes(workspace, set_id, features, images))
    progress.phase("Embedding RoIs", count)
    _tell_stored(features.rois, progress)
    shots = (
        shot_of(image, photos, keys, boxes) for image, keys, boxes in _unseen_boxes(workspace, set_id, features, images)
    )
    with timed(progress, ROIS, count):
        made = (place or Here()).embed("rois", features, shots, failed, progress)
        added = features.rois.add(made) if count else 0
    return added, failed


def _add_photos(
    features: Features, each: _OfPhoto, images: list[Image], photos: Photos, progress: Progress, place: WorkPlace
) -> list[Image]:
    """Compute and store what photos do not have yet. Returns the photos that have it now."""
    progress.phase(each.doing, each.stored.missing(photo_keys(images)))
    _tell_stored(each.stored, progress)
    added = 0
    while unseen := _unseen(each.stored, images):
        failed: dict[int, str] = {}  # copies of a lost photo's file may still be there
        shots = (shot_of(image, photos, np.array([key])) for key, image in unseen.items())
        added += each.stored.add(place.embed(each.view, features, shots, failed, progress))
        images = leave_out(features.workspace, images, photos, lost_of(failed, images, photos), progress)
        if not failed:
            break
    progress.log(f"{each.done}: {added}, reused: {len(images) - added}.")
    return images


def shot_of(image: Image, photos: Photos, keys: np.ndarray, boxes: np.ndarray | None = None) -> Shot:
    """Return what is to be computed of a photo. keys: int64 [n]. boxes: int16 [n, 4], or None for the whole photo."""
    return Shot(image.id, image.path, str(photos.path(image)), photos.stamp(image), keys, boxes)


def lost_of(failed: dict[int, str], images: list[Image], photos: Photos) -> dict[int, Lost]:
    """Return why photos cannot be used that could not be read. failed: reasons of the attempts, by image id."""
    return {image.id: lost_as(photos, image, failed[image.id]) for image in images if image.id in failed}


def _unseen(stored: Embeddings, images: list[Image]) -> dict[int, Image]:
    """Return one photo for each key that has no row yet."""
    keys = photo_keys(images)
    missing = ~stored.have(keys)
    unseen: dict[int, Image] = {}
    for key, image in zip(keys[missing].tolist(), np.array(images, object)[missing].tolist(), strict=True):
        unseen.setdefault(key, image)
    return unseen


def _tell_stored(stored: Embeddings, progress: Progress) -> None:
    """Log what is unusual about the stored features."""
    if stored.outdated:
        progress.log(
            f"{stored.outdated} features were stored by an earlier version, without a record of their pixels. "
            "Computing them again."
        )
    if stored.duplicates:
        progress.log(f"{stored.duplicates} features are stored twice. The first of each is used.")


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
