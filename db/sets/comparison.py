"""Overlap of two correspondence sets of the same photos: of one image on demand, of all images once.

A pair is the same in both when its two RoIs are, so its photos too: a box is one ``roi`` row whichever sets use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from orl_explorer.db.models import (
    Candidate,
    CorrespondenceSet,
    Image,
    ImageComparison,
    Neighbor,
    Pair,
    SetComparison,
    SetImage,
)
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.sets.read import NeighborImage, PairRow
from orl_explorer.db.store import Store, StoreError, fetch_all, insert_rows

_Report = Callable[[int, int], None]
Status = Literal["kept", "lost", "new"]  # in both sets, in the first alone, in the second alone
BINS = 20  # of the intersection over union of an image's pairs, over [0, 1]


@dataclass(frozen=True)
class Overlap:
    """How many things of some kind both sets have, and how many each."""

    shared: int
    first: int
    second: int

    @property
    def jaccard(self) -> float:
        """Intersection over union; 1 where neither has any."""
        union = self.first + self.second - self.shared
        return self.shared / union if union else 1.0

    def swapped(self) -> Overlap:
        """The overlap with the two sets swapped."""
        return Overlap(self.shared, self.second, self.first)


@dataclass(frozen=True)
class Compared:
    """Neighbours, RoIs and pairs of one image, or of all."""

    neighbors: Overlap
    rois: Overlap
    pairs: Overlap


@dataclass(frozen=True)
class Comparison:
    """Two sets as wholes: the images that both cover, what they share there in all, and how that is spread.

    histogram: number of images by intersection over union of their pairs, in ``BINS`` bins over [0, 1].
    """

    images: int
    total: Compared
    histogram: list[int]


@dataclass(frozen=True)
class ImageOverlap:
    """Intersection over union of an image's neighbours, RoIs and pairs."""

    image_id: int
    neighbors: float
    rois: float
    pairs: float


def compare_image(store: Store, first: int, second: int, image_id: int) -> Compared:
    """Compare two sets on one image, by their ids; an image that a set does not cover has nothing there."""
    ids = np.array([image_id])
    with store.session() as session:
        here = [_counted(_rows(session, kind, first, second, ids), ids)[0].tolist() for kind in KINDS]
    return Compared(*(Overlap(*counts) for counts in here))


def shared_pairs(store: Store, first: int, second: int, image_id: int) -> set[tuple[int, int]]:
    """Return the pairs of an image that both sets have, each as the ids of its query and key RoIs."""
    rows: list[set[tuple[int, int]]] = []
    with store.session() as session:
        for set_id in (first, second):
            query = select(Pair.query_roi_id, Pair.key_roi_id).where(Pair.set_id == set_id, Pair.image_id == image_id)
            rows.append({(q, k) for q, k in session.execute(query)})
    return rows[0] & rows[1]


def compare_sets(store: Store, first: int, second: int, on_progress: _Report | None = None) -> Comparison:
    """Compare two complete sets on all images that both cover, and store the result.

    on_progress: called with the number of images done, and their total.
    Raises StoreError if a set is missing or not complete, or when they have no image in common.
    """
    found = kept_comparison(store, first, second)
    if found is not None:
        return found
    low, high = sorted((first, second))
    return _seen_from(first, second, _compare(store, low, high, on_progress))


def kept_comparison(store: Store, first: int, second: int) -> Comparison | None:
    """Return the stored comparison of two sets, or None."""
    low, high = sorted((first, second))
    with store.session() as session:
        stored = session.get(SetComparison, (low, high))
    return _seen_from(first, second, stored.summary) if stored else None


def _seen_from(first: int, second: int, summary: dict[str, Any]) -> Comparison:
    neighbors, rois, pairs = (Overlap(**summary[kind]) for kind in ("neighbors", "rois", "pairs"))
    total = Compared(neighbors, rois, pairs)
    if first > second:
        total = Compared(neighbors.swapped(), rois.swapped(), pairs.swapped())
    return Comparison(summary["images"], total, summary["histogram"])


def least_alike(
    store: Store, first: int, second: int, limit: int, after: ImageOverlap | None = None
) -> list[ImageOverlap]:
    """Return images of a stored comparison, those whose pairs overlap least first; from the one after ``after`` on."""
    low, high = sorted((first, second))
    row = ImageComparison
    query = select(row.image_id, row.neighbors, row.rois, row.pairs).where(row.first_id == low, row.second_id == high)
    if after is not None:
        query = query.where(_beyond(after))
    with store.session() as session:
        found = session.execute(query.order_by(row.pairs, row.image_id).limit(limit))
        return [ImageOverlap(*values) for values in found]


def overlap_of(store: Store, first: int, second: int, image_id: int) -> ImageOverlap | None:
    """An image's part of a kept comparison; None where there is none, or where a set does not cover the image."""
    low, high = sorted((first, second))
    with store.session() as session:
        row = session.get(ImageComparison, (low, high, image_id))
    return ImageOverlap(row.image_id, row.neighbors, row.rois, row.pairs) if row else None


def step_alike(store: Store, first: int, second: int, image_id: int, forward: bool) -> int | None:
    """The image after (or before) this one in the order of ``least_alike``; None at its end."""
    here = overlap_of(store, first, second, image_id)
    if here is None:
        return None
    if forward:
        return next((row.image_id for row in least_alike(store, first, second, 1, here)), None)
    low, high = sorted((first, second))
    row = ImageComparison
    before = (row.pairs <= here.pairs) & ((row.pairs < here.pairs) | (row.image_id < image_id))
    query = select(row.image_id).where(row.first_id == low, row.second_id == high).where(before)
    with store.session() as session:
        return session.scalar(query.order_by(row.pairs.desc(), row.image_id.desc()).limit(1))


def _beyond(after: ImageOverlap) -> ColumnElement[bool]:
    # pairs >= x bounds the walk in the index; the rest decides among equals.
    row = ImageComparison
    return (row.pairs >= after.pairs) & ((row.pairs > after.pairs) | (row.image_id > after.image_id))


# Computing ---------------------------------------------------------------------------------------------

KINDS = (
    (Neighbor, (Neighbor.neighbor_id,)),
    (Candidate, (Candidate.roi_id,)),
    (Pair, (Pair.query_roi_id, Pair.key_roi_id)),
)


def _compare(store: Store, first: int, second: int, on_progress: _Report | None = None) -> dict[str, Any]:
    totals = np.zeros((len(KINDS), 3), np.int64)
    histogram = np.zeros(BINS, np.int64)
    rows: list[tuple[Any, ...]] = []
    with store.session() as session:
        images = _common_images(session, first, second)
        for start in range(0, len(images), CHUNK):
            ids = images[start : start + CHUNK]
            counted = [_counted(_rows(session, kind, first, second, ids), ids) for kind in KINDS]
            totals += [counts.sum(axis=0) for counts in counted]
            alike = [_jaccard(counts) for counts in counted]
            histogram += np.histogram(alike[-1], BINS, (0, 1))[0]
            rows += [(first, second, *row) for row in zip(ids.tolist(), *(a.tolist() for a in alike), strict=True)]
            if on_progress:
                on_progress(start + len(ids), len(images))
    overlaps = (asdict(Overlap(*counts)) for counts in totals.tolist())
    summary: dict[str, Any] = {"images": len(images), "histogram": histogram.tolist()}
    summary |= dict(zip(("neighbors", "rois", "pairs"), overlaps, strict=True))
    with store.session() as session:
        if session.get(SetComparison, (first, second)) is None:  # else another process was faster
            session.add(SetComparison(first_id=first, second_id=second, summary=summary))
            session.flush()
            columns = ("first_id", "second_id", "image_id", "neighbors", "rois", "pairs")
            insert_rows(session, ImageComparison, columns, rows)
    return summary


def _common_images(session: Session, first: int, second: int) -> np.ndarray:
    covered: list[Sequence[int]] = []
    for set_id in (first, second):
        found = session.get(CorrespondenceSet, set_id)
        if found is None or found.status != "complete":
            raise StoreError(f"Cannot compare set {set_id}: it does not exist or is not complete.")
        covered.append(session.scalars(select(SetImage.image_id).where(SetImage.set_id == set_id)).all())
    common = np.intersect1d(covered[0], covered[1])
    if not len(common):
        raise StoreError("Cannot compare the two sets: they have no photo in common.")
    return common


def _rows(session: Session, kind: tuple, first: int, second: int, image_ids: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of both sets for these images, ascending: int64 [n, 1 + columns], the image first."""
    table, columns = kind
    for set_id in (first, second):
        query: Select = select(table.image_id, *columns).where(
            table.set_id == set_id, table.image_id.between(int(image_ids[0]), int(image_ids[-1]))
        )
        rows = np.array(fetch_all(session, query), np.int64).reshape(-1, 1 + len(columns))
        yield rows[np.isin(rows[:, 0], image_ids)]


def _counted(both: Iterator[np.ndarray], image_ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """By image, how many rows are shared, in the first and in the second set: int64 [images, 3]. Rows are distinct."""
    first, second = both
    rows = np.concatenate([first, second])
    rows = rows[np.lexsort(rows.T)]
    shared = rows[1:][(rows[1:] == rows[:-1]).all(axis=1)]
    each = [np.bincount(np.searchsorted(image_ids, r[:, 0]), minlength=len(image_ids)) for r in (shared, first, second)]
    return np.stack(each, axis=1)


def _jaccard(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each row of ``_counted``, float64 [n]; 1 where there is neither."""
    union = counts[:, 1] + counts[:, 2] - counts[:, 0]
    return np.where(union, counts[:, 0] / np.maximum(union, 1), 1.0)


# One photo in two sets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class NeighborDifference:
    """A neighbour of either set; rank and similarity are None where it is no neighbour."""

    image: Image
    first: NeighborImage | None
    second: NeighborImage | None

    @property
    def status(self) -> Status:
        """Whether both sets have it."""
        return _status(self.first, self.second)


@dataclass(frozen=True)
class PairDifference:
    """A pair of either set: its two RoIs by id and box, and its row in each."""

    roi_ids: tuple[int, int]
    boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
    first: PairRow | None
    second: PairRow | None

    @property
    def status(self) -> Status:
        """Whether both sets have it."""
        return _status(self.first, self.second)


def neighbor_differences(first: Sequence[NeighborImage], second: Sequence[NeighborImage]) -> list[NeighborDifference]:
    """The neighbours of an image in both sets: those of the first by rank, then the others of the second by rank."""
    there = {neighbor.image.id: neighbor for neighbor in second}
    ours = [NeighborDifference(n.image, n, there.pop(n.image.id, None)) for n in first]
    return ours + [NeighborDifference(n.image, None, n) for n in second if n.image.id in there]


def pair_differences(first: Sequence[PairRow], second: Sequence[PairRow]) -> dict[int, list[PairDifference]]:
    """The pairs of an image in both sets, by id of the neighbour: first kept ones, then lost, then new, each by rank.

    A pair is the same in both when its two RoIs are, so its photos too, whatever the neighbour's rank.
    """
    rows = [{(row.query_roi_id, row.key_roi_id): row for row in some} for some in (first, second)]
    found: dict[int, list[PairDifference]] = {}
    for ids in dict.fromkeys((*rows[0], *rows[1])):
        one, other = rows[0].get(ids), rows[1].get(ids)
        row = one or other
        assert row is not None
        pair = PairDifference(ids, (row.query_box, row.key_box), one, other)
        found.setdefault(row.neighbor_id, []).append(pair)
    order = {"kept": 0, "lost": 1, "new": 2}
    return {neighbor: sorted(pairs, key=lambda p: order[p.status]) for neighbor, pairs in found.items()}


def _status(first: object | None, second: object | None) -> Status:
    if first is None:
        return "new"
    return "lost" if second is None else "kept"
