"""Near-duplicates among the photos of a dataset, found in the stored features, and which of them to keep."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from orl_explorer.db.models import Dataset, Encoder, Image
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.photos import annotation_counts, usable_images
from orl_explorer.orl.duplicates import NEAR_DUPLICATE, near_duplicate_groups
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.mining.features import Features, photo_keys
from orl_explorer.train.settings import Precision
from orl_explorer.train.tables import csv_lines
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace


@dataclass(frozen=True)
class DuplicateGroup:
    """Photos that are nearly the same.

    photos: the one to keep first. similarity: of each with the first, cosine. objects: number of annotated objects of
    each. why: the reason to keep the first.
    """

    photos: tuple[Image, ...]
    similarity: tuple[float, ...]
    objects: tuple[int, ...]
    why: str


def find_duplicates(
    workspace: Workspace, dataset: Dataset, encoder: Encoder, threshold: float = NEAR_DUPLICATE
) -> list[DuplicateGroup]:
    """Return the groups of near-duplicates of a dataset, largest first. Raises UserError if features are missing.

    Photos that are kept out of mining may have none, and are left out then.
    """
    images = list(usable_images(workspace.store, dataset.id))
    stored = stored_features(workspace, encoder, images, kept_out(workspace.store, dataset.id).tolist())
    if stored is None:
        raise UserError(
            f"Not all of the {plural(len(images), 'photo')} of '{dataset.name}' have features of '{encoder.name}'. "
            "Mine the dataset with this encoder once, also the photos that were added since."
        )
    images = [images[i] for i in np.flatnonzero(stored.have(photo_keys(images))).tolist()]
    rows = stored.lazily(photo_keys(images))
    members = grouped(near_duplicate_groups(rows, threshold)) if images else []
    objects = annotation_counts(workspace.store, [images[i].id for some in members for i in some.tolist()])
    return [_group(images, some, objects, rows[some]) for some in members]


def stored_features(
    workspace: Workspace, encoder: Encoder, images: Sequence[Image], out: Collection[int] = ()
) -> Embeddings | None:
    """Return the stored features of all these photos, of any precision, or None if some photo has none.

    out: ids of photos that need none.
    """
    unneeded = {*out}
    keys = photo_keys([image for image in images if image.id not in unneeded])
    every = (Features(workspace, encoder, precision=precision).images for precision in get_args(Precision))
    return next((found for found in every if not found.missing(keys)), None)


COLUMNS = ("group", "keep", "path", "width", "height", "objects", "similarity", "reason")


def duplicate_rows(groups: Sequence[DuplicateGroup]) -> list[tuple[int, bool, str, int, int, int, float, str]]:
    """Return a row for each photo, with ``COLUMNS``. similarity: with the photo to keep; reason: of the one to keep."""
    return [
        (number, at == 0, photo.path, photo.width, photo.height, objects, round(cosine, 4), group.why * (at == 0))
        for number, group in enumerate(groups, 1)
        for at, (photo, objects, cosine) in enumerate(zip(group.photos, group.objects, group.similarity, strict=True))
    ]


def duplicates_csv(groups: Sequence[DuplicateGroup]) -> str:
    """Return a CSV with a row for each photo of the groups."""
    return "".join(csv_lines(COLUMNS, duplicate_rows(groups)))


def grouped(group: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each group of several photos, largest group first. group: int64 [n], as found."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    several = [rows for rows in np.split(order, starts[1:]) if len(rows) > 1]
    return sorted(several, key=lambda rows: (-len(rows), int(rows[0])))


def ranked(images: Sequence[Image], objects: Mapping[int, int] | None = None) -> list[int]:
    """Return the places of photos that are nearly the same, the one to keep first.

    That is the one with the most pixels, of these the one with the most annotated objects, of these the first by path.
    """
    known = objects or {}
    return sorted(
        range(len(images)),
        key=lambda i: (-_pixels(images[i]), -known.get(images[i].id, 0), images[i].path, images[i].id),
    )


def standing_for(images: Sequence[Image], group: np.ndarray) -> np.ndarray:
    """Return the row of the photo that is kept of each photo's group, int64 [n]; its own if it has no near-duplicate.

    It does not depend on annotations, which mining must not see.
    """
    standing = np.arange(len(images))
    for rows in grouped(group):
        standing[rows] = rows[ranked([images[i] for i in rows.tolist()])[0]]
    return standing


def why_kept(images: Sequence[Image], objects: Mapping[int, int]) -> str:
    """Return why the first of these photos, ranked, is the one to keep."""
    first, second = images[:2]
    if _pixels(first) > _pixels(second):
        return "largest"
    if objects.get(first.id, 0) > objects.get(second.id, 0):
        return "most annotated objects of the largest"
    return "first by name of those that are alike"


def _group(images: list[Image], rows: np.ndarray, objects: Mapping[int, int], features: np.ndarray) -> DuplicateGroup:
    order = ranked([images[i] for i in rows.tolist()], objects)
    photos = [images[i] for i in rows[order].tolist()]
    similarity = np.clip(features[order] @ features[order[0]], -1.0, 1.0)
    counts = tuple(objects.get(photo.id, 0) for photo in photos)
    return DuplicateGroup(tuple(photos), tuple(similarity.tolist()), counts, why_kept(photos, objects))


def _pixels(image: Image) -> int:
    return image.width * image.height
