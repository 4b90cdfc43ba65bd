"""Kept comparisons of two correspondence sets of the same photos, and the photos on which they agree least.

What is the same in both is told by an overlap of boxes, so that two sets have one comparison for each limit of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from orl_explorer.db.models import CorrespondenceSet, ImageComparison, Neighbor, Pair, SetComparison, SetImage
from orl_explorer.db.store import Store, StoreError, fetch_all, insert_rows

BINS = 20  # of the agreement of an image's pairs, over [0, 1]


@dataclass(frozen=True)
class TwoSets:
    """Two sets by id, and the IoU in per cent from which two boxes count as the same: 100 for equal boxes alone."""

    first: int
    second: int
    percent: int

    @property
    def key(self) -> tuple[int, int, int]:
        """What their comparison is kept under, in whichever order they are compared."""
        low, high = sorted((self.first, self.second))
        return low, high, self.percent


@dataclass(frozen=True)
class Overlap:
    """How many things of some kind each of two sets has, and how many of them the other has too."""

    first: int
    second: int
    first_found: int
    second_found: int

    @property
    def agreement(self) -> float:
        """Share of the things of both sets that the other set has too; 1 where neither has any."""
        either = self.first + self.second
        return (self.first_found + self.second_found) / either if either else 1.0

    def swapped(self) -> Overlap:
        """The overlap with the two sets swapped."""
        return Overlap(self.second, self.first, self.second_found, self.first_found)


@dataclass(frozen=True)
class Compared:
    """Neighbours, RoIs and pairs of one image, or of all."""

    neighbors: Overlap
    rois: Overlap
    pairs: Overlap


@dataclass(frozen=True)
class Comparison:
    """Two sets as wholes: the images that both cover, what they share there in all, and how that is spread.

    histogram: number of images by agreement of their pairs, in ``BINS`` bins over [0, 1].
    """

    images: int
    total: Compared
    histogram: list[int]


@dataclass(frozen=True)
class ImageOverlap:
    """Agreement of an image's neighbours, RoIs and pairs."""

    image_id: int
    neighbors: float
    rois: float
    pairs: float


def kept_comparison(store: Store, two: TwoSets) -> Comparison | None:
    """Return the stored comparison of two sets, or None."""
    with store.session() as session:
        stored = session.get(SetComparison, two.key)
    if stored is None:
        return None
    kinds = [Overlap(**stored.summary[kind]) for kind in ("neighbors", "rois", "pairs")]
    if two.first > two.second:
        kinds = [overlap.swapped() for overlap in kinds]
    return Comparison(stored.summary["images"], Compared(*kinds), stored.summary["histogram"])


def keep_comparison(store: Store, two: TwoSets, found: Comparison, rows: list[ImageOverlap]) -> None:
    """Store a comparison and its images, unless another process was faster. The first set has the smaller id."""
    low, high, percent = two.key
    assert low == two.first, "the order in which comparisons are kept"
    summary = {"images": found.images, "histogram": found.histogram, **asdict(found.total)}
    plain = [(low, high, percent, row.image_id, row.neighbors, row.rois, row.pairs) for row in rows]
    with store.session() as session:
        if session.get(SetComparison, two.key) is None:
            session.add(SetComparison(first_id=low, second_id=high, percent=percent, summary=summary))
            session.flush()
            columns = ("first_id", "second_id", "percent", "image_id", "neighbors", "rois", "pairs")
            insert_rows(session, ImageComparison, columns, plain)


# The photos on which two sets agree least -------------------------------------------------------------------


def least_alike(store: Store, two: TwoSets, limit: int, after: ImageOverlap | None = None) -> list[ImageOverlap]:
    """Return images of a stored comparison, those whose pairs agree least first; from the one after ``after`` on."""
    row = ImageComparison
    query = select(row.image_id, row.neighbors, row.rois, row.pairs).where(*_of(two))
    if after is not None:
        query = query.where(_beyond(after))
    with store.session() as session:
        found = session.execute(query.order_by(row.pairs, row.image_id).limit(limit))
        return [ImageOverlap(*values) for values in found]


def overlap_of(store: Store, two: TwoSets, image_id: int) -> ImageOverlap | None:
    """An image's part of a kept comparison; None where there is none, or where a set does not cover the image."""
    with store.session() as session:
        row = session.get(ImageComparison, (*two.key, image_id))
    return ImageOverlap(row.image_id, row.neighbors, row.rois, row.pairs) if row else None


def step_alike(store: Store, two: TwoSets, image_id: int, forward: bool) -> int | None:
    """The image after (or before) this one in the order of ``least_alike``; None at its end."""
    here = overlap_of(store, two, image_id)
    if here is None:
        return None
    if forward:
        return next((row.image_id for row in least_alike(store, two, 1, here)), None)
    row = ImageComparison
    before = (row.pairs <= here.pairs) & ((row.pairs < here.pairs) | (row.image_id < image_id))
    query = select(row.image_id).where(*_of(two)).where(before)
    with store.session() as session:
        return session.scalar(query.order_by(row.pairs.desc(), row.image_id.desc()).limit(1))


def _of(two: TwoSets) -> tuple[ColumnElement[bool], ...]:
    low, high, percent = two.key
    row = ImageComparison
    return row.first_id == low, row.second_id == high, row.percent == percent


def _beyond(after: ImageOverlap) -> ColumnElement[bool]:
    # pairs >= x bounds the walk in the index; the rest decides among equals.
    row = ImageComparison
    return (row.pairs >= after.pairs) & ((row.pairs > after.pairs) | (row.image_id > after.image_id))


# What is compared -------------------------------------------------------------------------------------------


def common_images(store: Store, first: int, second: int) -> np.ndarray:
    """Return the ids of the images that both sets cover, int64 [n], ascending.

    Raises StoreError if a set is missing or not complete, or when they have no image in common.
    """
    covered: list[np.ndarray] = []
    with store.session() as session:
        for set_id in (first, second):
            found = session.get(CorrespondenceSet, set_id)
            if found is None or found.status != "complete":
                raise StoreError(f"Cannot compare set {set_id}: it does not exist or is not complete.")
            query = select(SetImage.image_id).where(SetImage.set_id == set_id)
            covered.append(np.array(session.scalars(query).all(), np.int64))
    common = np.intersect1d(covered[0], covered[1])
    if not len(common):
        raise StoreError("Cannot compare the two sets: they have no photo in common.")
    return common


@dataclass(frozen=True)
class BlockOfSet:
    """Neighbours and pairs of some images in one set, by image id: int64 [n, 2] and [p, 3] (query RoI, key RoI)."""

    neighbors: np.ndarray
    pairs: np.ndarray


def block_of_set(store: Store, set_id: int, image_ids: np.ndarray) -> BlockOfSet:
    """Read neighbours and pairs of images. image_ids: int64 [n], ascending and not far apart."""
    with store.session() as session:
        neighbors = _rows(session, select(Neighbor.image_id, Neighbor.neighbor_id), Neighbor, set_id, image_ids)
        columns = select(Pair.image_id, Pair.query_roi_id, Pair.key_roi_id)
        return BlockOfSet(neighbors, _rows(session, columns, Pair, set_id, image_ids))


def _rows(
    session: Session, query: Select, table: type[Neighbor] | type[Pair], set_id: int, image_ids: np.ndarray
) -> np.ndarray:
    query = query.where(table.set_id == set_id, table.image_id.between(int(image_ids[0]), int(image_ids[-1])))
    rows = np.array(fetch_all(session, query), np.int64).reshape(-1, len(query.selected_columns))
    return rows[np.isin(rows[:, 0], image_ids)]
