"""A whole correspondence set as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from orl_explorer.db.models import Annotation, Candidate, Dataset, Image, Neighbor, Pair, Roi, SetImage
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.store import Store, fetch


@dataclass(frozen=True)
class WholeSet:
    """Rows of a set, all in the order of image ids.

    images: int64 [n, 3], id, width and height. rois: int64 [R, 6], image id, roi id, x, y, w and h, by rank.
    neighbors: int64 [n · K, 2], image id and neighbour's id, nearest first; nearness: float32 [n · K], their cosine.
    pairs: int64 [P, 4], image id, rank of the neighbour, roi ids of query and key; similarity, margin: float32 [P],
    NaN if not measured; cycle: float32 [P], 1, 0 or NaN.
    """

    images: np.ndarray
    rois: np.ndarray
    neighbors: np.ndarray
    nearness: np.ndarray
    pairs: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    cycle: np.ndarray


@dataclass(frozen=True)
class AnnotatedObjects:
    """Annotations of some images, in the order of image ids.

    image_ids: int64 [G]. boxes: float64 [G, 4], x y w h. categories: str [G]. difficult: bool [G], including crowds.
    crowd: bool [G].
    """

    image_ids: np.ndarray
    boxes: np.ndarray
    categories: list[str]
    difficult: np.ndarray
    crowd: np.ndarray


def whole_set(store: Store, set_id: int) -> WholeSet:
    """Read a set, complete or not."""
    with store.session() as session:
        images, _ = _fetch(
            session,
            select(Image.id, Image.width, Image.height)
            .join(SetImage, SetImage.image_id == Image.id)
            .where(SetImage.set_id == set_id)
            .order_by(SetImage.image_id),
            whole=3,
        )
        rois, _ = _fetch(
            session,
            select(Candidate.image_id, Roi.id, Roi.x, Roi.y, Roi.w, Roi.h)
            .join(Roi, Roi.id == Candidate.roi_id)
            .where(Candidate.set_id == set_id)
            .order_by(Candidate.image_id, Candidate.rank),
            whole=6,
        )
        neighbors, nearness = _neighbors(session, set_id)
        pairs, numbers = _fetch(
            session,
            select(Pair.image_id, Pair.neighbor_rank, Pair.query_roi_id, Pair.key_roi_id)
            .add_columns(Pair.similarity, Pair.margin, Pair.cycle)
            .where(Pair.set_id == set_id)
            .order_by(Pair.image_id, Pair.neighbor_rank, Pair.rank),
            whole=4,
        )
    return WholeSet(images, rois, neighbors, nearness, pairs, *numbers.T)


def set_neighbors(store: Store, set_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the neighbours of a set as ``WholeSet`` holds them, without the rest: ``neighbors``, ``nearness``."""
    with store.session() as session:
        return _neighbors(session, set_id)


def _neighbors(session: Session, set_id: int) -> tuple[np.ndarray, np.ndarray]:
    neighbors, nearness = _fetch(
        session,
        select(Neighbor.image_id, Neighbor.neighbor_id, Neighbor.similarity)
        .where(Neighbor.set_id == set_id)
        .order_by(Neighbor.image_id, Neighbor.rank),
        whole=2,
    )
    return neighbors, nearness[:, 0]


def annotated_objects(store: Store, image_ids: Sequence[int]) -> AnnotatedObjects:
    """Annotations of some images, given in ascending order."""
    rows: list[Any] = []
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            rows += session.execute(
                select(Annotation.image_id, Annotation.category, Annotation.difficult, Dataset.layout)
                .add_columns(Annotation.x, Annotation.y, Annotation.w, Annotation.h)
                .join(Image, Image.id == Annotation.image_id)
                .join(Dataset, Dataset.id == Image.dataset_id)
                .where(Annotation.image_id.in_(image_ids[start : start + CHUNK]))
                .order_by(Annotation.image_id, Annotation.id)
            ).all()
    return AnnotatedObjects(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[4:] for row in rows], np.float64).reshape(-1, 4),
        [row[1] for row in rows],
        np.array([row[2] for row in rows], bool),
        # COCO marks crowds and knows no difficult objects, VOC the other way round.
        np.array([row[2] and row[3] == "coco" for row in rows], bool),
    )


def _fetch(session: Session, query: Select[*tuple[Any, ...]], whole: int) -> tuple[np.ndarray, np.ndarray]:
    """The first so many columns as int64 [n, whole], the others as float32 [n, …] with NaN for null."""
    # Counted first: arrays put together from blocks would be in memory twice, and pairs are a dozen million.
    total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
    integers = np.empty((total, whole), np.int64)
    others = np.empty((total, len(query.selected_columns) - whole), np.float32)
    at = 0
    for block in fetch(session, query):
        rows = np.array(block, np.float64)  # holds ids up to 2^53, and null as NaN
        here = slice(at, at + len(rows))
        integers[here], others[here] = rows[:, :whole], rows[:, whole:]
        at += len(rows)
    return integers, others
