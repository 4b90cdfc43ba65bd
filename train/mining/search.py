"""Search by example: the RoIs of a whole set that are most similar to a box of any photo.

Every RoI of a small set is compared. Of a large one, a compact index (``orl.compact``) names the first thousand: some
components of all RoIs choose a few, and all their components the thousand of these. Their stored features put them in
their exact order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image

from orl_explorer.db.encoders import VECTORS, encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Encoder, Image
from orl_explorer.db.sets.read import images_by_id
from orl_explorer.orl.boxes import at_least
from orl_explorer.orl.compact import HEAD, products
from orl_explorer.orl.opening import UnreadableImage, open_photo
from orl_explorer.orl.pixels import file_digest, read_image
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, finite, roi_keys
from orl_explorer.train.mining.making import MakingReport
from orl_explorer.train.mining.search_index import SetIndex, index_of_set, refuse_missing
from orl_explorer.train.workspace import Workspace

PixelBox = tuple[int, int, int, int]  # x, y, w, h in pixels of the photo as shown

FIRST = 1_000  # RoIs that a search returns at most
FEW = 65_536  # RoIs of a large set of which all components are compared
BLOCK = 4_096  # RoIs whose features are read at once
UNSEEN = -np.inf  # similarity of a RoI that a filter leaves out


@dataclass(frozen=True)
class Filters:
    """Which RoIs are found.

    least: similarity. category: of the annotated object that a RoI covers. without: id of a photo. once: only the best
    RoI of each photo.
    """

    least: float | None = None
    category: str | None = None
    without: int | None = None
    once: bool = False


@dataclass(frozen=True)
class Example:
    """A box x y w h of a photo, to search with.

    name: of the photo, for messages. digest: of its file, 0 if unknown. read: decodes it.
    """

    name: str
    digest: int
    box: PixelBox
    read: Callable[[], PIL.Image.Image] = field(compare=False, repr=False)


@dataclass(frozen=True)
class FoundRois:
    """RoIs that were found, best first. rows: int64 [n], of the index. similarity: float32 [n], cosine."""

    rows: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Hit:
    """A RoI that was found. box: x y w h. category: of the annotated object that it covers, or None."""

    image: Image
    roi_id: int
    box: PixelBox
    similarity: float
    category: str | None


# The query -------------------------------------------------------------------------------------------------


def box_of(asked: Sequence[int] | None, size: tuple[int, int], features: Features) -> PixelBox:
    """Return the box that is embedded for one of a photo of size width and height; None asks for the whole photo.

    It is grown to a cell of the encoder's map, of which a smaller crop would show nothing. Raises UserError if it is
    not inside the photo.
    """
    width, height = size
    if max(size) > np.iinfo(np.int16).max:
        raise UserError(f"Cannot search with a photo of {width} × {height} pixels: a side is longer than 32767.")
    box = (0, 0, width, height) if asked is None else tuple(map(int, asked))
    if len(box) != 4:
        raise UserError(f"A box has four numbers, x, y, w and h, not {len(box)}.")
    x, y, w, h = box
    if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        raise UserError(f"The box {x},{y},{w},{h} (x, y, w, h) is not inside the photo of {width} × {height} pixels.")
    return at_least((x, y, w, h), features.reading.stride, width, height)


def feature_of(features: Features, encoder: Encoder, example: Example) -> np.ndarray:
    """Return the feature of an example, float32 [C]: that of a RoI if it is stored, else computed as mining does it.

    Raises UserError.
    """
    corners = np.array([example.box], np.int16)
    key = roi_keys(example.digest, corners)
    features.rois.refresh()
    if features.rois.have(key)[0]:
        return features.rois.get(key)[0]
    if encoder.kind == VECTORS:
        raise UserError(
            f"'{encoder.name}' is imported vectors without a network, so a new box has no vector. Search with a RoI of "
            "a photo of the set."
        )
    try:
        photo = example.read()
    except UnreadableImage as problem:
        raise UserError(f"Cannot read {example.name}: {problem}.") from problem
    made = features.encoder.embed_rois(features.reading.crop(photo, corners[0])[None])
    return finite(made, [example.name], features.name)[0]


def search_file(
    workspace: Workspace,
    mined: CorrespondenceSet,
    path: Path,
    box: Sequence[int] | None,
    filters: Filters,
    report: MakingReport = lambda done, total: None,
) -> tuple[list[Hit], PixelBox]:
    """Return the RoIs of a set that are most similar to a box of a photo's file, and the box that was embedded.

    box: x y w h, None for the whole photo. report: see ``index_of_set``. Raises UserError.
    """
    encoder = encoder_by_id(workspace.store, mined.encoder_id)
    features = Features(workspace, encoder, precision=MineConfig.of(mined).precision)
    if not path.exists():
        raise UserError(f"There is no file {path}.")
    try:
        with open_photo(path) as photo:
            size = photo.width, photo.height
        digest = file_digest(path)
    except (UnreadableImage, OSError) as problem:
        raise UserError(f"Cannot read {path}: {problem}.") from problem
    example = Example(str(path), digest, box_of(box, size, features), partial(read_image, path))
    index = index_of_set(workspace, mined, features, report)
    if filters.category is not None and filters.category not in index.names:
        known = f"Known categories: {', '.join(index.names)}." if index.names else "Its dataset has no annotations."
        raise UserError(f"The set '{mined.name}' has no category '{filters.category}'. {known}")
    found = search_rois(index, features, feature_of(features, encoder, example), filters)
    return hits(workspace, index, found), example.box


# Searching -------------------------------------------------------------------------------------------------


def search_rois(index: SetIndex, features: Features, vector: np.ndarray, filters: Filters) -> FoundRois:
    """Return the RoIs of a set that are most similar to a feature, float32 [C], at most ``FIRST``.

    Raises UserError if features of the set are not stored.
    """
    if index.components is None:
        similar = _cosines(features, index.keys, vector)
        rows = _first(_seen(index, similar, filters), index.rois.start, FIRST, once=filters.once)
        similar = similar[rows]
    else:
        near = _near(index, vector, filters)
        rows = _first(near, index.rois.start, FIRST)
        if filters.once:
            rows = np.union1d(rows, _first(near, index.rois.start, FIRST, once=True))
        refuse_missing(features, index.keys[rows])
        similar = features.rois.scattered(index.keys[rows]) @ vector
    order = np.lexsort((rows, -similar))
    rows, similar = rows[order], similar[order]
    if filters.once:
        kept = np.sort(np.unique(index.image_of(rows), return_index=True)[1])
        rows, similar = rows[kept], similar[kept]
    count = len(rows) if filters.least is None else int(np.count_nonzero(similar >= np.float32(filters.least)))
    return FoundRois(rows[: min(count, FIRST)], similar[: min(count, FIRST)])


def _near(index: SetIndex, vector: np.ndarray, filters: Filters) -> np.ndarray:
    """Return numbers that order the RoIs nearly as their cosines do, float32 [R]; ``UNSEEN`` for all but a few."""
    assert index.components is not None and index.head is not None and index.tail is not None
    query = index.components.query(vector)
    roughly = _seen(index, products(index.head, query[:HEAD]), filters)
    rows = _first(roughly, index.rois.start, FEW)
    near = np.full(len(roughly), UNSEEN, np.float32)
    near[rows] = roughly[rows] + products(index.tail[rows], query[HEAD:])
    return near


def _cosines(features: Features, keys: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return the cosines of stored features with one: float32 [n]."""
    refuse_missing(features, keys)
    found = np.empty(len(keys), np.float32)
    for start in range(0, len(keys), BLOCK):
        found[start : start + BLOCK] = features.rois.get(keys[start : start + BLOCK]) @ vector
    return found


def _seen(index: SetIndex, similar: np.ndarray, filters: Filters) -> np.ndarray:
    """Return similarities, float32 [R], with ``UNSEEN`` for RoIs that filters leave out."""
    seen = similar.copy()
    if filters.category is not None:
        number = index.names.index(filters.category) if filters.category in index.names else -2
        seen[index.category != number] = UNSEEN
    if filters.without is not None and filters.without in index.rois.images:
        seen[index.rois.of(filters.without)] = UNSEEN
    return seen


def _first(similar: np.ndarray, start: np.ndarray, count: int, *, once: bool = False) -> np.ndarray:
    """Return the rows of the largest similarities, ascending; with ``once``, those of different photos.

    start: int64 [n + 1], the first row of each photo. Of equal ones at the end, the first rows are returned.
    """
    here = np.flatnonzero(np.diff(start))  # photos with RoIs
    best = np.maximum.reduceat(similar, start[here]) if len(here) else similar[:0]
    photos = _largest(best, count)
    if once:
        ranges = [slice(*start[here[at] : here[at] + 2]) for at in photos[best[photos] > UNSEEN].tolist()]
        return np.array([own.start + int(similar[own].argmax()) for own in ranges], np.int64)
    # So many best RoIs are at least as similar as the last of so many photos' best ones.
    least = best[photos].min() if len(photos) == count else UNSEEN
    some = np.flatnonzero((similar >= least) & (similar > UNSEEN))
    return some[_largest(similar[some], count)]


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the largest values, ascending; of equal ones at the end, the first."""
    if len(values) <= count:
        return np.arange(len(values))
    limit = np.partition(values, len(values) - count)[len(values) - count]
    above, equal = np.flatnonzero(values > limit), np.flatnonzero(values == limit)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def hits(workspace: Workspace, index: SetIndex, found: FoundRois, start: int = 0, count: int = FIRST) -> list[Hit]:
    """Return some of the RoIs that were found, with their photos."""
    rows, similar = found.rows[start : start + count], found.similarity[start : start + count]
    ids = index.image_of(rows).tolist()
    images = images_by_id(workspace.store, sorted(set(ids)))
    names = [*index.names, None]  # the last is that of -1
    return [
        Hit(images[image], int(index.rois.ids[row]), _as_box(index.rois.boxes[row]), cosine, names[index.category[row]])
        for image, row, cosine in zip(ids, rows.tolist(), similar.tolist(), strict=True)
    ]


def hit_row(hit: Hit) -> tuple[int, str, int, int, int, int, int, float, str | None]:
    """Return image id, path, RoI id, x, y, w, h, similarity and category of a RoI."""
    return hit.image.id, hit.image.path, hit.roi_id, *hit.box, round(hit.similarity, 4), hit.category


def _as_box(box: np.ndarray) -> PixelBox:
    x, y, w, h = box.tolist()
    return x, y, w, h
