"""Correspondence sets as the explorer and stage 3 read them.

Arrays of boxes are int16 [n, 4], x y w h in pixels of the image as shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute

from orl_explorer.db.models import Candidate, CorrespondenceSet, Image, Neighbor, Pair, Roi, SetImage, both_rois
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.store import Store, StoreError, fetch, fetch_all

DELETED = "deleted"  # status of a set whose rows are still being removed; readers ignore it


def sets(store: Store, *, complete_only: bool = True) -> list[CorrespondenceSet]:
    """Correspondence sets, newest first."""
    query = select(CorrespondenceSet).order_by(CorrespondenceSet.id.desc())
    query = query.where(CorrespondenceSet.status != DELETED)
    if complete_only:
        query = query.where(CorrespondenceSet.status == "complete")
    with store.session() as session:
        return list(session.scalars(query))


def set_by_id(store: Store, set_id: int) -> CorrespondenceSet | None:
    """Return the set of this id, or None."""
    with store.session() as session:
        return session.get(CorrespondenceSet, set_id)


def find_set(store: Store, name: str) -> CorrespondenceSet | None:
    """Return the set of this name, complete or not, or None."""
    with store.session() as session:
        return session.scalar(select(CorrespondenceSet).where(CorrespondenceSet.name == name))


def set_of_run(store: Store, run_id: int) -> CorrespondenceSet | None:
    """Return the set that a run makes or has made, complete or not, whatever its name is by now; None if deleted."""
    own = (CorrespondenceSet.run_id == run_id, CorrespondenceSet.status != DELETED)
    with store.session() as session:
        return session.scalar(select(CorrespondenceSet).where(*own).order_by(CorrespondenceSet.id.desc()).limit(1))


def complete_set_named(store: Store, name: str) -> CorrespondenceSet:
    """Return the complete set of this name. Raises StoreError that lists the known sets if there is none."""
    found = find_set(store, name)
    if found is None:
        known = ", ".join(s.name for s in sets(store))
        hint = f"Known sets: {known}." if known else "Make one with `orl mine`."
        raise StoreError(f"There is no correspondence set '{name}'. {hint}")
    if found.status != "complete":
        raise StoreError(
            f"The correspondence set '{name}' is not complete. Resume it with `orl runs resume {found.run_id}`."
        )
    return found


@dataclass(frozen=True)
class Rois:
    """RoIs of an image: ids int64 [B], boxes int16 [B, 4], objectness float32 [B] (0 if not computed)."""

    ids: np.ndarray
    boxes: np.ndarray
    objectness: np.ndarray


def rois_of(store: Store, set_id: int, image_ids: Sequence[int]) -> dict[int, Rois]:
    """Return candidates by image id, in rank order."""
    query = select(Candidate.image_id, Roi.id, Roi.x, Roi.y, Roi.w, Roi.h, Candidate.objectness)
    query = query.join(Roi, Roi.id == Candidate.roi_id)
    return _by_image(store, query.where(Candidate.set_id == set_id), Candidate.image_id, image_ids, by=[Candidate.rank])


@dataclass(frozen=True)
class SetRois:
    """All candidates of a set, as flat arrays in the order of images and ranks.

    images: int64 [n], ascending. start: int64 [n + 1]. ids: int64 [R]. boxes: int16 [R, 4]. objectness: float32 [R], 0
    if not computed.
    """

    images: np.ndarray
    start: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    objectness: np.ndarray

    def of(self, image_id: int) -> slice:
        """Return the range of an image's candidates."""
        at = int(np.searchsorted(self.images, image_id))
        return slice(int(self.start[at]), int(self.start[at + 1]))


def set_rois(store: Store, set_id: int) -> SetRois:
    """Read all candidates of a set: 20 bytes per candidate."""
    counted = select(SetImage.image_id, SetImage.candidate_count).where(SetImage.set_id == set_id)
    candidates = select(Candidate.roi_id, Roi.x, Roi.y, Roi.w, Roi.h, Candidate.objectness)
    candidates = candidates.join(Roi, Roi.id == Candidate.roi_id).where(Candidate.set_id == set_id)
    with store.session() as session:
        images = [np.array(block, np.int64) for block in fetch(session, counted.order_by(SetImage.image_id))]
        image_ids, counts = np.concatenate([np.empty((0, 2), np.int64), *images]).T
        start = np.concatenate([[0], np.cumsum(counts)])
        ids, objectness, at = np.empty(start[-1], np.int64), np.empty(start[-1], np.float32), 0
        boxes = np.empty((start[-1], 4), np.int16)
        for block in fetch(session, candidates.order_by(Candidate.image_id, Candidate.rank)):
            values = np.array(block, np.float64)  # null as NaN
            here = slice(at, at + len(values))
            ids[here], boxes[here] = values[:, 0], values[:, 1:5]
            objectness[here] = np.nan_to_num(values[:, 5])
            at += len(values)
    return SetRois(image_ids, start, ids, boxes, objectness)


def candidate_counts(store: Store, set_id: int) -> np.ndarray:
    """Return the number of candidates of each image of a set, int64 [n]."""
    with store.session() as session:
        found = session.scalars(select(SetImage.candidate_count).where(SetImage.set_id == set_id))
        return np.array(found.all(), np.int64)


def paired_image_count(store: Store, set_id: int) -> int:
    """Return the number of a set's images that have a pair with some neighbour."""
    with store.session() as session:
        query = select(func.count()).where(SetImage.set_id == set_id, SetImage.pair_count > 0)
        return session.scalar(query) or 0


def _by_image(
    store: Store,
    query: Select[*tuple[Any, ...]],
    image: InstrumentedAttribute[int],
    image_ids: Sequence[int],
    by: Sequence[InstrumentedAttribute[int]] = (),
) -> dict[int, Rois]:
    """Rows of (image id, roi id, x, y, w, h, objectness), as arrays by image."""
    ids = sorted(set(image_ids))
    blocks = [np.empty((0, 7))]  # of float64, which holds every id exactly, and NaN where there is no objectness
    with store.session() as session:
        for start in range(0, len(ids), CHUNK):
            some = query.where(image.in_(ids[start : start + CHUNK])).order_by(image, *by)
            blocks.append(np.array(fetch_all(session, some), np.float64).reshape(-1, 7))
    rows = np.concatenate(blocks)
    images, first = np.unique(rows[:, 0].astype(np.int64), return_index=True)
    bounds = [*first.tolist(), len(rows)]
    own = [rows[start:stop] for start, stop in pairwise(bounds)]
    return {i: _rois(r[:, 1:]) for i, r in zip(images.tolist(), own, strict=True)}


def _rois(rows: np.ndarray) -> Rois:
    objectness = np.nan_to_num(rows[:, 5]).astype(np.float32)
    return Rois(rows[:, 0].astype(np.int64), rows[:, 1:5].astype(np.int16), objectness)


def neighbor_ids_of(store: Store, set_id: int, image_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the ids of the K neighbours by image id, nearest first."""
    grouped: dict[int, list[int]] = {}
    with store.session() as session:
        for image, neighbor in session.execute(
            select(Neighbor.image_id, Neighbor.neighbor_id)
            .where(Neighbor.set_id == set_id, Neighbor.image_id.in_(image_ids))
            .order_by(Neighbor.image_id, Neighbor.rank)
        ):
            grouped.setdefault(image, []).append(neighbor)
    return grouped


def neighbor_rows(store: Store, set_id: int, image_ids: Sequence[int]) -> dict[int, list[tuple[int, int, float]]]:
    """Return rank, id and similarity of the neighbours by image id, nearest first."""
    grouped: dict[int, list[tuple[int, int, float]]] = {image_id: [] for image_id in image_ids}
    own = (Neighbor.image_id, Neighbor.rank, Neighbor.neighbor_id, Neighbor.similarity)
    question = select(*own).where(Neighbor.set_id == set_id, Neighbor.image_id.in_(image_ids))
    with store.session() as session:
        for image, rank, neighbor, similarity in session.execute(question.order_by(Neighbor.image_id, Neighbor.rank)):
            grouped[image].append((rank, neighbor, similarity))
    return grouped


def set_rows_of(store: Store, set_id: int, image_ids: Sequence[int]) -> dict[int, SetImage]:
    """Return the counts of some images in a set, by image id."""
    question = select(SetImage).where(SetImage.set_id == set_id, SetImage.image_id.in_(image_ids))
    with store.session() as session:
        return {row.image_id: row for row in session.scalars(question)}


def images_by_id(store: Store, image_ids: Sequence[int]) -> dict[int, Image]:
    """Return images by id."""
    with store.session() as session:
        return {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(image_ids)))}


@dataclass(frozen=True)
class NeighborImage:
    """A neighbour of a query image."""

    rank: int
    image: Image
    similarity: float


def holds(store: Store, set_id: int, image_id: int) -> bool:
    """Return whether a photo is in a set."""
    with store.session() as session:
        return session.get(SetImage, (set_id, image_id)) is not None


def neighbors_of(store: Store, set_id: int, image_id: int) -> list[NeighborImage]:
    """Return the K neighbours of an image in a set, nearest first."""
    with store.session() as session:
        rows = session.execute(
            select(Neighbor.rank, Neighbor.similarity, Image)
            .join(Image, Image.id == Neighbor.neighbor_id)
            .where(Neighbor.set_id == set_id, Neighbor.image_id == image_id)
            .order_by(Neighbor.rank)
        )
        return [NeighborImage(rank, image, similarity) for rank, similarity, image in rows]


@dataclass(frozen=True)
class StoredPair:
    """A row of ``pair`` with its two boxes."""

    neighbor_rank: int
    rank: int
    query_box: tuple[int, int, int, int]
    key_box: tuple[int, int, int, int]
    similarity: float
    margin: float | None
    cycle: bool | None


def pairs_of(store: Store, set_id: int, image_id: int) -> list[StoredPair]:
    """Return all pairs of a query image, by neighbour and rank."""
    q, k = both_rois()
    question = (
        select(Pair.neighbor_rank, Pair.rank, Pair.similarity, Pair.margin, Pair.cycle)
        .add_columns(q.x, q.y, q.w, q.h, k.x, k.y, k.w, k.h)
        .join(q, q.id == Pair.query_roi_id)
        .join(k, k.id == Pair.key_roi_id)
        .where(Pair.set_id == set_id, Pair.image_id == image_id)
        .order_by(Pair.neighbor_rank, Pair.rank)
    )
    with store.session() as session:
        return [
            StoredPair(neighbor, rank, (qx, qy, qw, qh), (kx, ky, kw, kh), similarity, margin, cycle)
            for neighbor, rank, similarity, margin, cycle, qx, qy, qw, qh, kx, ky, kw, kh in session.execute(question)
        ]


class PairRow(NamedTuple):
    """A pair with all its columns; boxes are x y w h, ``None`` is not measured."""

    neighbor_rank: int
    neighbor_id: int
    neighbor_similarity: float
    rank: int
    query_x: int
    query_y: int
    query_w: int
    query_h: int
    key_x: int
    key_y: int
    key_w: int
    key_h: int
    similarity: float
    margin: float | None
    cycle: bool | None
    query_roi_id: int
    key_roi_id: int

    @property
    def query_box(self) -> tuple[int, int, int, int]:
        """The query's RoI."""
        return self.query_x, self.query_y, self.query_w, self.query_h

    @property
    def key_box(self) -> tuple[int, int, int, int]:
        """The neighbour's RoI."""
        return self.key_x, self.key_y, self.key_w, self.key_h


def pair_rows(store: Store, set_id: int, image_ids: Sequence[int]) -> dict[int, list[PairRow]]:
    """Return pairs by id of the query image, ordered by neighbour and rank."""
    q, k = both_rois()
    question = (
        select(Pair.image_id, Pair.neighbor_rank, Neighbor.neighbor_id, Neighbor.similarity, Pair.rank)
        .add_columns(q.x, q.y, q.w, q.h, k.x, k.y, k.w, k.h, Pair.similarity, Pair.margin, Pair.cycle)
        .add_columns(Pair.query_roi_id, Pair.key_roi_id)
        .join(q, q.id == Pair.query_roi_id)
        .join(k, k.id == Pair.key_roi_id)
        .join(
            Neighbor,
            (Neighbor.set_id == Pair.set_id)
            & (Neighbor.image_id == Pair.image_id)
            & (Neighbor.rank == Pair.neighbor_rank),
        )
        .where(Pair.set_id == set_id, Pair.image_id.in_(image_ids))
        .order_by(Pair.image_id, Pair.neighbor_rank, Pair.rank)
    )
    found: dict[int, list[PairRow]] = {image_id: [] for image_id in image_ids}
    with store.session() as session:
        for image_id, *row in session.execute(question):
            found[image_id].append(PairRow._make(row))
    return found


def set_images(store: Store, set_id: int) -> Iterator[Image]:
    """Yield the images of a set in the order of ids, fetched in blocks."""
    after = 0
    while True:
        query = select(Image).join(SetImage, SetImage.image_id == Image.id)
        query = query.where(SetImage.set_id == set_id, SetImage.image_id > after).order_by(SetImage.image_id)
        with store.session() as session:
            block = list(session.scalars(query.limit(4 * CHUNK)))
        if not block:
            return
        yield from block
        after = block[-1].id


@dataclass(frozen=True)
class TrainingRows:
    """One block of a set for stage 3, by image: candidates, and of each neighbour the pairs of boxes."""

    image: Image
    rois: np.ndarray  # int16 [B, 4]
    neighbors: list[tuple[Image, np.ndarray]]  # nearest first; pairs int16 [m, 8]: query x y w h, key x y w h


def training_rows(store: Store, set_id: int) -> Iterator[TrainingRows]:
    """Yield the RoIs and pairs of every image of a set for stage 3, in the order of ids, fetched in blocks."""
    with store.session() as session:
        ids = list(
            session.scalars(select(SetImage.image_id).where(SetImage.set_id == set_id).order_by(SetImage.image_id))
        )
    for start in range(0, len(ids), CHUNK):
        block = ids[start : start + CHUNK]
        rois = rois_of(store, set_id, block)
        query, key = both_rois()
        with store.session() as session:
            images = {i.id: i for i in session.scalars(select(Image).where(Image.id.in_(block)))}
            neighbors: dict[int, list[tuple[int, Image]]] = {}
            for image_id, rank, neighbor in session.execute(
                select(Neighbor.image_id, Neighbor.rank, Image)
                .join(Image, Image.id == Neighbor.neighbor_id)
                .where(Neighbor.set_id == set_id, Neighbor.image_id.in_(block))
                .order_by(Neighbor.image_id, Neighbor.rank)
            ):
                neighbors.setdefault(image_id, []).append((rank, neighbor))
            pairs: dict[tuple[int, int], list[tuple[int, ...]]] = {}
            for image_id, rank, *boxes in session.execute(
                select(Pair.image_id, Pair.neighbor_rank)
                .add_columns(query.x, query.y, query.w, query.h, key.x, key.y, key.w, key.h)
                .join(query, query.id == Pair.query_roi_id)
                .join(key, key.id == Pair.key_roi_id)
                .where(Pair.set_id == set_id, Pair.image_id.in_(block))
                .order_by(Pair.image_id, Pair.neighbor_rank, Pair.rank)
            ):
                pairs.setdefault((image_id, rank), []).append(tuple(boxes))
        for image_id in block:
            yield TrainingRows(
                images[image_id],
                rois[image_id].boxes,
                [
                    (neighbor, np.array(pairs.get((image_id, rank), []), np.int16).reshape(-1, 8))
                    for rank, neighbor in neighbors[image_id]
                ],
            )
