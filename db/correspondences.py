"""Proposals, RoIs and correspondence sets: what mining writes and the explorer and stage 3 read.

Arrays of boxes are int16 [n, 4], x y w h in pixels of the image as shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import bindparam, case, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from db.models import Candidate, CorrespondenceSet, Image, Neighbor, Pair, Proposal, Roi, SetImage, Verdict
from db.photos import CHUNK
from db.store import Store, StoreError

HISTOGRAM_BINS = 100  # of similarity, over [-1, 1]


# Raw proposals -----------------------------------------------------------------------------------------


def missing_proposals(store: Store, image_ids: Sequence[int], method: str) -> list[int]:
    """Those of the images that have no raw boxes by this method yet, in the given order."""
    have: set[int] = set()
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            ids = image_ids[start : start + CHUNK]
            have.update(
                session.scalars(select(Proposal.image_id).where(Proposal.method == method, Proposal.image_id.in_(ids)))
            )
    return [i for i in image_ids if i not in have]


def add_proposals(store: Store, method: str, boxes_of: Mapping[int, np.ndarray]) -> None:
    """Keep the raw boxes of some images, in rank order."""
    if not boxes_of:
        return
    rows = [
        {"image_id": image, "method": method, "boxes": np.asarray(boxes, "<i2").tobytes()}
        for image, boxes in boxes_of.items()
    ]
    with store.session() as session:
        session.execute(insert(Proposal), rows)


def proposals_of(store: Store, image_ids: Sequence[int], method: str) -> dict[int, np.ndarray]:
    """Raw boxes by image id, for those images that have them."""
    with store.session() as session:
        rows = session.execute(
            select(Proposal.image_id, Proposal.boxes).where(Proposal.method == method, Proposal.image_id.in_(image_ids))
        )
        return {image: np.frombuffer(blob, "<i2").reshape(-1, 4) for image, blob in rows}


# Writing a set -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MinedPairs:
    """Pairs with one neighbour, most similar first: roi ids int64 [n] twice, and float32 [n]."""

    neighbor_rank: int
    query_roi_ids: np.ndarray
    key_roi_ids: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class MinedImage:
    """One image's share of a set, ready to be written."""

    image_id: int
    pairs: tuple[MinedPairs, ...]


@dataclass(frozen=True)
class Candidates:
    """The filtered RoIs of an image: their boxes in rank order, and how many raw boxes there were."""

    image_id: int
    boxes: np.ndarray
    raw_count: int
    fallback: bool


def sets(store: Store, *, complete_only: bool = True) -> list[CorrespondenceSet]:
    """Correspondence sets, newest first."""
    query = select(CorrespondenceSet).order_by(CorrespondenceSet.id.desc())
    if complete_only:
        query = query.where(CorrespondenceSet.status == "complete")
    with store.session() as session:
        return list(session.scalars(query))


def set_by_id(store: Store, set_id: int) -> CorrespondenceSet | None:
    """The set of this id."""
    with store.session() as session:
        return session.get(CorrespondenceSet, set_id)


def find_set(store: Store, name: str) -> CorrespondenceSet | None:
    """The set of this name, complete or not."""
    with store.session() as session:
        return session.scalar(select(CorrespondenceSet).where(CorrespondenceSet.name == name))


def complete_set_named(store: Store, name: str) -> CorrespondenceSet:
    """The complete set of this name. Raises StoreError naming those that exist."""
    found = find_set(store, name)
    if found is None:
        known = ", ".join(s.name for s in sets(store)) or "none yet; `orl mine` makes one"
        raise StoreError(f"There is no correspondence set named '{name}'. Known: {known}.")
    if found.status != "complete":
        raise StoreError(f"The correspondence set '{name}' is not complete; `orl runs resume {found.run_id}` goes on.")
    return found


def begin_set(
    store: Store, name: str, dataset_id: int, encoder_id: int, params: dict[str, Any], run_id: int
) -> CorrespondenceSet:
    """Start a set, or take up the one that this run began. Raises StoreError when the name is taken."""
    with store.session() as session:
        found = session.scalar(select(CorrespondenceSet).where(CorrespondenceSet.name == name))
        if found is None:
            found = CorrespondenceSet(
                name=name, dataset_id=dataset_id, encoder_id=encoder_id, params=params, run_id=run_id
            )
            session.add(found)
            session.flush()
        elif found.run_id != run_id or found.status == "complete":
            raise StoreError(f"The correspondence set name '{name}' is taken; sets never change, choose another name.")
        return found


def add_candidates(store: Store, set_id: int, batch: Sequence[Candidates]) -> None:
    """Write the candidates of some images; a box gets its ``roi`` row the first time any set uses it."""
    boxes = [[tuple(map(int, box)) for box in c.boxes] for c in batch]
    with store.session() as session:
        roi_ids = _ensure_rois(session, [(c.image_id, box) for c, own in zip(batch, boxes, strict=True) for box in own])
        session.execute(
            insert(SetImage),
            [
                {
                    "set_id": set_id,
                    "image_id": c.image_id,
                    "raw_count": c.raw_count,
                    "candidate_count": len(c.boxes),
                    "fallback": c.fallback,
                }
                for c in batch
            ],
        )
        session.execute(
            insert(Candidate),
            [
                {"set_id": set_id, "image_id": c.image_id, "rank": rank, "roi_id": roi_ids[c.image_id, box]}
                for c, own in zip(batch, boxes, strict=True)
                for rank, box in enumerate(own, 1)
            ],
        )


def _ensure_rois(session: Session, boxes: list[tuple[int, tuple[int, ...]]]) -> dict[tuple[int, tuple[int, ...]], int]:
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
        rows_to_add = []
        for roi_id, (image, (x, y, w, h)) in enumerate(new, following):
            known[image, (x, y, w, h)] = roi_id
            rows_to_add.append({"id": roi_id, "image_id": image, "x": x, "y": y, "w": w, "h": h})
        session.execute(insert(Roi), rows_to_add)
    return known


def filtered_images(store: Store, set_id: int) -> set[int]:
    """Images whose candidates an unfinished set already has."""
    with store.session() as session:
        return set(session.scalars(select(SetImage.image_id).where(SetImage.set_id == set_id)))


def add_neighbors(store: Store, set_id: int, image_ids: np.ndarray, ids: np.ndarray, similarity: np.ndarray) -> None:
    """Write the K neighbours of all images in one transaction: ids int64 [n, K], similarity float32 [n, K]."""
    with store.session() as session:
        if session.scalar(select(Neighbor.image_id).where(Neighbor.set_id == set_id).limit(1)) is not None:
            return  # an earlier attempt of the same run wrote them, all or none
        for start in range(0, len(image_ids), CHUNK):
            session.execute(
                insert(Neighbor),
                [
                    {
                        "set_id": set_id,
                        "image_id": int(image),
                        "rank": rank,
                        "neighbor_id": int(neighbor),
                        "similarity": float(value),
                    }
                    for image, row, values in zip(
                        image_ids[start : start + CHUNK],
                        ids[start : start + CHUNK],
                        similarity[start : start + CHUNK],
                        strict=True,
                    )
                    for rank, (neighbor, value) in enumerate(zip(row, values, strict=True), 1)
                ],
            )


def images_with_neighbors(store: Store, set_id: int) -> set[int]:
    """Images whose neighbours an unfinished set already has."""
    with store.session() as session:
        return set(session.scalars(select(Neighbor.image_id).where(Neighbor.set_id == set_id, Neighbor.rank == 1)))


def matched_images(store: Store, set_id: int) -> set[int]:
    """Images whose pairs an unfinished set already has."""
    with store.session() as session:
        done = select(SetImage.image_id).where(SetImage.set_id == set_id, SetImage.pair_count.is_not(None))
        return set(session.scalars(done))


def add_pairs(store: Store, set_id: int, batch: Sequence[MinedImage]) -> None:
    """Write the pairs of some images, and what the gallery shows of them, in one transaction."""
    pairs, counts = [], []
    for mined in batch:
        for found in mined.pairs:
            each = zip(found.query_roi_ids, found.key_roi_ids, found.similarity, strict=True)
            for rank, (query, key, similarity) in enumerate(each, 1):
                pairs.append(
                    {
                        "set_id": set_id,
                        "image_id": mined.image_id,
                        "neighbor_rank": found.neighbor_rank,
                        "rank": rank,
                        "query_roi_id": int(query),
                        "key_roi_id": int(key),
                        "similarity": float(similarity),
                    }
                )
        count = sum(len(found.similarity) for found in mined.pairs)
        total = sum(float(found.similarity.sum()) for found in mined.pairs)
        counts.append({"image": mined.image_id, "count": count, "mean": total / count if count else None})
    with store.session() as session:
        if pairs:
            session.execute(insert(Pair), pairs)
        session.connection().execute(
            update(SetImage)
            .where(SetImage.set_id == set_id, SetImage.image_id == bindparam("image"))
            .values(pair_count=bindparam("count"), mean_similarity=bindparam("mean")),
            counts,
        )


def publish_set(store: Store, set_id: int) -> CorrespondenceSet:
    """Count a set once and make it visible as complete; from here on it never changes."""
    with store.session() as session:
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
        for block in session.scalars(select(Pair.similarity).where(Pair.set_id == set_id)).partitions(100_000):
            histogram += np.histogram(block, bins=HISTOGRAM_BINS, range=(-1, 1))[0]
        session.execute(
            update(CorrespondenceSet)
            .where(CorrespondenceSet.id == set_id)
            .values(
                status="complete",
                image_count=images,
                candidate_count=candidates or 0,
                pair_count=pairs or 0,
                fallback_count=fallbacks,
                summary={"similarity": histogram.tolist(), "raw": raw or 0},
            )
        )
        return session.scalars(select(CorrespondenceSet).where(CorrespondenceSet.id == set_id)).one()


# Reading a set -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rois:
    """Candidates of an image in rank order: roi ids int64 [B] and boxes int16 [B, 4]."""

    ids: np.ndarray
    boxes: np.ndarray


def rois_of(store: Store, set_id: int, image_ids: Sequence[int]) -> dict[int, Rois]:
    """Candidates by image id."""
    grouped: dict[int, list[tuple[int, ...]]] = {}
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            rows = session.execute(
                select(Candidate.image_id, Roi.id, Roi.x, Roi.y, Roi.w, Roi.h)
                .join(Roi, Roi.id == Candidate.roi_id)
                .where(Candidate.set_id == set_id, Candidate.image_id.in_(image_ids[start : start + CHUNK]))
                .order_by(Candidate.image_id, Candidate.rank)
            )
            for image, *roi in rows:
                grouped.setdefault(image, []).append(tuple(roi))
    return {
        image: Rois(np.array([r[0] for r in rois], np.int64), np.array([r[1:] for r in rois], np.int16))
        for image, rois in grouped.items()
    }


def known_rois(store: Store, image_ids: Sequence[int]) -> dict[int, Rois]:
    """Every box of these images that any set uses."""
    grouped: dict[int, list[tuple[int, ...]]] = {}
    with store.session() as session:
        rows = session.execute(
            select(Roi.image_id, Roi.id, Roi.x, Roi.y, Roi.w, Roi.h).where(Roi.image_id.in_(image_ids))
        )
        for image, *roi in rows:
            grouped.setdefault(image, []).append(tuple(roi))
    return {
        image: Rois(np.array([r[0] for r in rois], np.int64), np.array([r[1:] for r in rois], np.int16))
        for image, rois in grouped.items()
    }


def neighbor_ids_of(store: Store, set_id: int, image_ids: Sequence[int]) -> dict[int, list[int]]:
    """Ids of the K neighbours by image id, nearest first."""
    grouped: dict[int, list[int]] = {}
    with store.session() as session:
        for image, neighbor in session.execute(
            select(Neighbor.image_id, Neighbor.neighbor_id)
            .where(Neighbor.set_id == set_id, Neighbor.image_id.in_(image_ids))
            .order_by(Neighbor.image_id, Neighbor.rank)
        ):
            grouped.setdefault(image, []).append(neighbor)
    return grouped


def images_by_id(store: Store, image_ids: Sequence[int]) -> dict[int, Image]:
    """Images by id."""
    with store.session() as session:
        return {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(image_ids)))}


@dataclass(frozen=True)
class NeighborImage:
    """A neighbour of a query image."""

    rank: int
    image: Image
    similarity: float


def neighbors_of(store: Store, set_id: int, image_id: int) -> list[NeighborImage]:
    """The K neighbours of an image in a set, nearest first."""
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


def pairs_of(store: Store, set_id: int, image_id: int) -> list[StoredPair]:
    """All pairs of a query image, by neighbour and rank."""
    query, key = aliased(Roi), aliased(Roi)
    with store.session() as session:
        rows = session.execute(
            select(Pair.neighbor_rank, Pair.rank, Pair.similarity, query, key)
            .join(query, query.id == Pair.query_roi_id)
            .join(key, key.id == Pair.key_roi_id)
            .where(Pair.set_id == set_id, Pair.image_id == image_id)
            .order_by(Pair.neighbor_rank, Pair.rank)
        )
        return [
            StoredPair(neighbor, rank, (q.x, q.y, q.w, q.h), (k.x, k.y, k.w, k.h), similarity)
            for neighbor, rank, similarity, q, k in rows
        ]


@dataclass(frozen=True)
class TrainingRows:
    """One block of a set for stage 3, by image: candidates, and of each neighbour the pairs of boxes."""

    image: Image
    rois: np.ndarray  # int16 [B, 4]
    neighbors: list[tuple[Image, np.ndarray]]  # nearest first; pairs int16 [m, 8]: query x y w h, key x y w h


def training_rows(store: Store, set_id: int) -> Iterator[TrainingRows]:
    """Every image of a set with what stage 3 draws from, in the order of ids, a block at a time."""
    with store.session() as session:
        ids = list(
            session.scalars(select(SetImage.image_id).where(SetImage.set_id == set_id).order_by(SetImage.image_id))
        )
    for start in range(0, len(ids), CHUNK):
        block = ids[start : start + CHUNK]
        rois = rois_of(store, set_id, block)
        query, key = aliased(Roi), aliased(Roi)
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


# Judgements --------------------------------------------------------------------------------------------


def judge(
    store: Store, query: tuple[int, np.ndarray], key: tuple[int, np.ndarray], verdict: str | None, author: str
) -> bool:
    """Keep (or with None withdraw) a person's verdict on a pair of boxes, each given as (image id, box).

    Returns False when one of the boxes belongs to no set, so that there is nothing to judge.
    """
    with store.session() as session:
        ids = []
        for image, (x, y, w, h) in ((query[0], map(int, query[1])), (key[0], map(int, key[1]))):
            ids.append(
                session.scalar(
                    select(Roi.id).where(Roi.image_id == image, Roi.x == x, Roi.y == y, Roi.w == w, Roi.h == h)
                )
            )
        if None in ids:
            return False
        found = session.get(Verdict, (*ids, author))
        if found is not None:
            session.delete(found)
            session.flush()
        if verdict is not None:
            session.add(Verdict(query_roi_id=ids[0], key_roi_id=ids[1], author=author, verdict=verdict))
        return True


def verdicts_of(store: Store, query_image: int, author: str) -> dict[tuple[tuple[int, ...], int, tuple[int, ...]], str]:
    """Verdicts on a query image's pairs: (query box, neighbour's image id, key box) -> verdict."""
    query, key = aliased(Roi), aliased(Roi)
    with store.session() as session:
        rows = session.execute(
            select(Verdict.verdict, query, key)
            .join(query, query.id == Verdict.query_roi_id)
            .join(key, key.id == Verdict.key_roi_id)
            .where(query.image_id == query_image, Verdict.author == author)
        )
        return {((q.x, q.y, q.w, q.h), k.image_id, (k.x, k.y, k.w, k.h)): verdict for verdict, q, k in rows}
