"""What mining writes: RoIs, and a correspondence set from its first row to its publication.

Arrays of boxes are int16 [n, 4], x y w h in pixels of the image as shown.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.orm import Session

from orl_explorer.db.models import (
    Candidate,
    CorrespondenceSet,
    DeletedSet,
    Image,
    Neighbor,
    Pair,
    Roi,
    SetImage,
)
from orl_explorer.db.photos import CHUNK, members_of
from orl_explorer.db.sets.check import refuse_broken
from orl_explorer.db.sets.read import DELETED
from orl_explorer.db.store import Store, StoreError, fetch, in_byte_order, insert_rows, lock_writers_out

HISTOGRAM_BINS = 100  # of similarity, over [-1, 1]
PAIR_COLUMNS = (
    *("set_id", "image_id", "neighbor_rank", "rank"),
    *("query_roi_id", "key_roi_id", "similarity", "margin", "cycle"),
)


@dataclass(frozen=True)
class MinedPairs:
    """Pairs with one neighbour, most similar first: roi ids int64 [n] twice, float32 [n] twice, and bool [n]."""

    neighbor_rank: int
    query_roi_ids: np.ndarray
    key_roi_ids: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray  # NaN where the neighbour has one RoI only
    cycle: np.ndarray


@dataclass(frozen=True)
class MinedImage:
    """The pairs of one image, ready to write."""

    image_id: int
    pairs: tuple[MinedPairs, ...]


@dataclass(frozen=True)
class CandidateRows:
    """The filtered RoIs of an image: their boxes in rank order, and how many raw boxes there were.

    objectness: float32 [B], or None if the set does not use it.
    """

    image_id: int
    boxes: np.ndarray
    raw_count: int
    fallback: bool
    objectness: np.ndarray | None = None


def begin_set(
    store: Store, name: str, dataset_id: int, encoder_id: int, params: dict[str, Any], run_id: int
) -> CorrespondenceSet:
    """Create a set, or return the one that this run created. Raises StoreError if the name is taken."""
    with store.session() as session:
        found = session.scalar(select(CorrespondenceSet).where(CorrespondenceSet.name == name))
        if found is None:
            found = CorrespondenceSet(
                name=name, dataset_id=dataset_id, encoder_id=encoder_id, params=params, run_id=run_id
            )
            found.id = _unused_id(session)
            session.add(found)
            session.flush()
        elif found.run_id != run_id or found.status == "complete":
            raise StoreError(f"The correspondence set '{name}' already exists. Choose another name.")
        return found


def _unused_id(session: Session) -> int:
    # SQLite reuses the id of the newest set after its deletion.
    known = (session.scalar(select(func.max(table.id))) or 0 for table in (CorrespondenceSet, DeletedSet))
    return max(known) + 1


def add_candidates(store: Store, set_id: int, batch: Sequence[CandidateRows]) -> None:
    """Write the candidates of some images; a box gets its ``roi`` row the first time any set uses it."""
    boxes = [[tuple(box) for box in c.boxes.tolist()] for c in batch]
    with store.session() as session:
        roi_ids = _ensure_rois(session, [(c.image_id, box) for c, own in zip(batch, boxes, strict=True) for box in own])
        insert_rows(
            session,
            SetImage,
            ("set_id", "image_id", "raw_count", "candidate_count", "fallback"),
            [(set_id, c.image_id, c.raw_count, len(c.boxes), c.fallback) for c in batch],
        )
        insert_rows(
            session,
            Candidate,
            ("set_id", "image_id", "rank", "roi_id", "objectness"),
            [
                (set_id, c.image_id, rank, roi_ids[c.image_id, box], score)
                for c, own in zip(batch, boxes, strict=True)
                for rank, (box, score) in enumerate(zip(own, _objectness(c), strict=True), 1)
            ],
        )
        _hold(session, set_id)


def _hold(session: Session, set_id: int) -> None:
    """Let nobody delete a set before this transaction ends. Raises StoreError if somebody has deleted it."""
    status = select(CorrespondenceSet.status).where(CorrespondenceSet.id == set_id)
    if session.scalar(status.with_for_update(read=True, key_share=True)) in (None, DELETED):
        raise StoreError("The set was deleted while its rows were written. Mine again under another name.")


def _objectness(found: CandidateRows) -> list[float] | list[None]:
    return [None] * len(found.boxes) if found.objectness is None else found.objectness.tolist()


def _ensure_rois(session: Session, boxes: list[tuple[int, tuple[int, ...]]]) -> dict[tuple[int, tuple[int, ...]], int]:
    lock_writers_out(session, Roi)  # another run may give ids to the same boxes
    images = sorted({image for image, _ in boxes})
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    for start in range(0, len(images), CHUNK):
        rows = session.execute(
            select(Roi.id, Roi.image_id, Roi.x, Roi.y, Roi.w, Roi.h).where(
                Roi.image_id.in_(images[start : start + CHUNK])
            )
        )
        known.update(((image, (x, y, w, h)), roi) for roi, image, x, y, w, h in rows)
    new = list(dict.fromkeys(b for b in boxes if b not in known))
    if new:
        following = (session.scalar(select(func.max(Roi.id))) or 0) + 1
        known.update(zip(new, range(following, following + len(new)), strict=True))
        columns = ("id", "image_id", "x", "y", "w", "h")
        insert_rows(session, Roi, columns, [(i, image, *box) for i, (image, box) in enumerate(new, following)])
    return known


def filtered_images(store: Store, set_id: int) -> set[int]:
    """Return the images whose candidates an unfinished set already has."""
    with store.session() as session:
        return set(session.scalars(select(SetImage.image_id).where(SetImage.set_id == set_id)))


def drop_candidates(store: Store, set_id: int, image_ids: Collection[int]) -> None:
    """Remove photos and their candidates from an unfinished set."""
    ids = list(image_ids)
    with store.session() as session:
        for start in range(0, len(ids), CHUNK):
            for table in (Candidate, SetImage):
                some = table.image_id.in_(ids[start : start + CHUNK])
                session.execute(delete(table).where(table.set_id == set_id, some))


def candidate_count(store: Store, set_id: int, image_ids: Sequence[int]) -> int:
    """Count the candidates that an unfinished set has of some images."""
    count = 0
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            some = SetImage.image_id.in_(image_ids[start : start + CHUNK])
            counted = select(func.sum(SetImage.candidate_count)).where(SetImage.set_id == set_id, some)
            count += session.scalar(counted) or 0
    return count


def add_neighbors(store: Store, set_id: int, image_ids: np.ndarray, ids: np.ndarray, similarity: np.ndarray) -> None:
    """Write the K neighbours of all images in one transaction: ids int64 [n, K], similarity float32 [n, K]."""
    with store.session() as session:
        if session.scalar(select(Neighbor.image_id).where(Neighbor.set_id == set_id).limit(1)) is not None:
            return  # an earlier attempt of the same run wrote all of them
        for start in range(0, len(image_ids), CHUNK):
            block = slice(start, start + CHUNK)
            each = zip(image_ids[block].tolist(), ids[block].tolist(), similarity[block].tolist(), strict=True)
            insert_rows(
                session,
                Neighbor,
                ("set_id", "image_id", "rank", "neighbor_id", "similarity"),
                [
                    (set_id, image, rank, neighbor, value)
                    for image, nearest, values in each
                    for rank, (neighbor, value) in enumerate(zip(nearest, values, strict=True), 1)
                ],
            )
        _hold(session, set_id)


def images_with_neighbors(store: Store, set_id: int) -> set[int]:
    """Return the images whose neighbours an unfinished set already has."""
    with store.session() as session:
        return set(session.scalars(select(Neighbor.image_id).where(Neighbor.set_id == set_id, Neighbor.rank == 1)))


def matched_images(store: Store, set_id: int) -> set[int]:
    """Return the images whose pairs an unfinished set already has."""
    with store.session() as session:
        done = select(SetImage.image_id).where(SetImage.set_id == set_id, SetImage.pair_count.is_not(None))
        return set(session.scalars(done))


def add_pairs(store: Store, set_id: int, batch: Sequence[MinedImage]) -> None:
    """Write the pairs of some images, and their means for the gallery, in one transaction."""
    pairs: list[tuple[Any, ...]] = []
    counts = []
    for mined in batch:
        for found in mined.pairs:
            margins = (None if math.isnan(margin) else margin for margin in found.margin.tolist())
            columns = (found.query_roi_ids.tolist(), found.key_roi_ids.tolist(), found.similarity.tolist())
            each = zip(*columns, margins, found.cycle.tolist(), strict=True)
            key = (set_id, mined.image_id, found.neighbor_rank)
            pairs += [(*key, rank, *row) for rank, row in enumerate(each, 1)]
        counts.append({"image": mined.image_id} | _summed_up(mined))
    with store.session() as session:
        insert_rows(session, Pair, PAIR_COLUMNS, pairs)
        session.connection().execute(
            update(SetImage)
            .where(SetImage.set_id == set_id, SetImage.image_id == bindparam("image"))
            .values(
                pair_count=bindparam("count"),
                mean_similarity=bindparam("similarity"),
                cycle_share=bindparam("cycle"),
                mean_margin=bindparam("margin"),
            ),
            counts,
        )
        _hold(session, set_id)


def _summed_up(mined: MinedImage) -> dict[str, float | None]:
    """Return the means of the pairs for ``set_image``; None without values."""

    def mean(values: Sequence[np.ndarray]) -> float | None:
        numbers = np.concatenate([np.empty(0), *values])
        numbers = numbers[~np.isnan(numbers)]
        return float(numbers.mean()) if len(numbers) else None

    return {
        "count": sum(len(found.similarity) for found in mined.pairs),
        "similarity": mean([found.similarity for found in mined.pairs]),
        "cycle": mean([found.cycle for found in mined.pairs]),
        "margin": mean([found.margin for found in mined.pairs]),
    }


def keep_quality(store: Store, set_id: int, measures: dict[str, float]) -> None:
    """Store the measured quality of a set, the only part of a complete set that may change."""
    with store.session() as session:
        session.execute(update(CorrespondenceSet).where(CorrespondenceSet.id == set_id).values(quality=measures))


def note_duplicates(store: Store, set_id: int, groups: int, photos: int) -> None:
    """Note with an unfinished set how many groups of near-duplicates it has, and how many photos it skips for them."""
    _note(store, set_id, {"duplicates": {"groups": groups, "photos": photos}})


def note_kept_out(store: Store, set_id: int, photos: int) -> None:
    """Note with an unfinished set how many photos it leaves out because people keep them out of mining."""
    _note(store, set_id, {"kept_out": photos})


def _note(store: Store, set_id: int, noted: dict[str, Any]) -> None:
    this = CorrespondenceSet.id == set_id
    with store.session() as session:
        before = session.scalars(select(CorrespondenceSet.summary).where(this)).one() or {}
        session.execute(update(CorrespondenceSet).where(this).values(summary=before | noted))


def publish_set(store: Store, set_id: int) -> CorrespondenceSet:
    """Count the rows of a set and mark it as complete. It is immutable afterwards.

    Raises StoreError if a photo's rows break what ``refuse_broken`` checks; the set stays unfinished then.
    """
    with store.session() as session:
        refuse_broken(session, set_id)
        images, candidates, pairs, fallbacks, raw = session.execute(
            select(
                func.count(),
                func.sum(SetImage.candidate_count),
                func.sum(SetImage.pair_count),
                func.count(case((SetImage.fallback, 1))),
                func.sum(SetImage.raw_count),
            ).where(SetImage.set_id == set_id)
        ).one()
        histogram = np.zeros(HISTOGRAM_BINS, dtype=np.int64)
        for block in fetch(session, select(Pair.similarity).where(Pair.set_id == set_id)):
            histogram += np.histogram(np.clip(np.array(block), -1, 1), bins=HISTOGRAM_BINS, range=(-1, 1))[0]
        of_images = select(SetImage.pair_count, func.count()).where(SetImage.set_id == set_id)
        by_count = session.execute(of_images.group_by(SetImage.pair_count).order_by(SetImage.pair_count)).all()
        left_out = _left_out(session, set_id)
        summary = select(CorrespondenceSet.summary).where(CorrespondenceSet.id == set_id)
        noted = dict(session.scalars(summary).one() or {})
        if count := noted.pop("kept_out", 0):
            left_out["kept out"] = count
        session.execute(
            update(CorrespondenceSet)
            .where(CorrespondenceSet.id == set_id)
            .values(
                status="complete",
                image_count=images,
                candidate_count=candidates or 0,
                pair_count=pairs or 0,
                fallback_count=fallbacks,
                summary=noted
                | {
                    "similarity": histogram.tolist(),
                    "pairs_per_image": [list(row) for row in by_count],  # number of pairs, and of images with so many
                    "raw": raw or 0,
                }
                | ({"left_out": left_out} if left_out else {}),
            )
        )
        return session.scalars(select(CorrespondenceSet).where(CorrespondenceSet.id == set_id)).one()


def _left_out(session: Session, set_id: int) -> dict[str, int]:
    """Count the photos of the dataset, by state, that are not in the set because they are gone or unreadable."""
    dataset_id = session.scalars(select(CorrespondenceSet.dataset_id).where(CorrespondenceSet.id == set_id)).one()
    ours = select(SetImage.image_id).where(SetImage.set_id == set_id)
    question = select(Image.status, func.count()).where(
        Image.dataset_id.in_(members_of(session, dataset_id)),
        Image.superseded_by.is_(None),
        Image.status != "ok",
        Image.id.not_in(ours),
    )
    rows = session.execute(question.group_by(Image.status).order_by(in_byte_order(Image.status)))
    return {row.status: row[1] for row in rows}
