"""Pairs of a whole set as flat arrays, and the details of single pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sqlalchemy import Integer, column, distinct, func, select, values

from orl_explorer.db.marks import Judgement, PairTag, Verdict
from orl_explorer.db.models import Candidate, Image, Neighbor, Pair, Roi, SetImage, both_rois
from orl_explorer.db.photos import CHUNK, members_of
from orl_explorer.db.store import Store, fetch_all, in_byte_order

BLOCK = 500  # photos whose pairs are read at once

# The place of a pair in its set as one number, in the order of the table: image id, rank of the neighbour, rank.
RANK_BITS = 16


def pair_keys(places: np.ndarray) -> np.ndarray:
    """Image id, rank of the neighbour and rank of each pair, int64 [n, 3], as one number each, int64 [n]."""
    return (places[:, 0] << 2 * RANK_BITS) | (places[:, 1] << RANK_BITS) | places[:, 2]


def pair_places(keys: np.ndarray) -> np.ndarray:
    """Return the inverse of ``pair_keys``: int64 [n, 3]."""
    mask = (1 << RANK_BITS) - 1
    return np.stack([keys >> 2 * RANK_BITS, (keys >> RANK_BITS) & mask, keys & mask], axis=1)


@dataclass(frozen=True)
class PairBlock:
    """Pairs of some photos, in the order of the table.

    image_ids: int64 [m], of the photos. keys: int64 [n], as ``pair_keys``. neighbor_ids: int64 [n], of the other photo.
    query_roi_ids: int64 [n]. similarity, margin: float32 [n]; cycle: float32 [n], 1 or 0; NaN if not measured.
    """

    image_ids: np.ndarray
    keys: np.ndarray
    neighbor_ids: np.ndarray
    query_roi_ids: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    cycle: np.ndarray


def pair_blocks(store: Store, set_id: int) -> Iterator[PairBlock]:
    """Yield all pairs of a set in blocks of photos."""
    ids = select(SetImage.image_id).where(SetImage.set_id == set_id).order_by(SetImage.image_id)
    columns = (Pair.image_id, Pair.neighbor_rank, Pair.rank, Pair.query_roi_id)
    question = select(*columns, Pair.similarity, Pair.margin, Pair.cycle).where(Pair.set_id == set_id)
    question = question.order_by(Pair.image_id, Pair.neighbor_rank, Pair.rank)
    near = select(Neighbor.image_id, Neighbor.rank, Neighbor.neighbor_id).where(Neighbor.set_id == set_id)
    near = near.order_by(Neighbor.image_id, Neighbor.rank)
    with store.session() as session:
        images = np.array(session.scalars(ids).all(), np.int64)
    for start in range(0, len(images), BLOCK):
        some = images[start : start + BLOCK]
        ends = int(some[0]), int(some[-1])
        with store.session() as session:
            found = fetch_all(session, question.where(Pair.image_id.between(*ends)))
            others = np.array(fetch_all(session, near.where(Neighbor.image_id.between(*ends))), np.int64).reshape(-1, 3)
        rows = np.array(found, np.float64).reshape(-1, 7)  # float64 holds every id exactly, and null as NaN
        whole = rows[:, :4].astype(np.int64)
        keys = pair_keys(whole[:, :3])
        at = np.searchsorted((others[:, 0] << RANK_BITS) | others[:, 1], keys >> RANK_BITS)
        yield PairBlock(some, keys, others[at, 2], whole[:, 3], *rows[:, 4:].T.astype(np.float32))


def marked_pairs(store: Store, set_id: int, verdict: Judgement | Literal["any"] | None, tag: str | None) -> np.ndarray:
    """Keys of a set's pairs that anybody judged so, or tagged so: int64 [n], ascending. Only one of both is asked."""
    mark = Verdict if tag is None else PairTag
    question = select(mark.query_roi_id, mark.key_roi_id, Roi.image_id).join(Roi, Roi.id == mark.query_roi_id)
    if tag is not None:
        question = question.where(PairTag.tag == tag)
    elif verdict != "any":
        question = question.where(Verdict.verdict == verdict)
    with store.session() as session:
        marked = [(query, key, image) for query, key, image in session.execute(question.distinct())]
    found = [place for place, *_ in places_of(store, set_id, marked)]
    return np.unique(pair_keys(np.array(found, np.int64).reshape(-1, 3)))


def places_of(
    store: Store, set_id: int, pairs: Sequence[tuple[int, int, int]]
) -> list[tuple[tuple[int, int, int], tuple[int, int], float]]:
    """Where pairs stand in a set, in order, and their similarity.

    Each is ((image id, rank of the neighbour, rank), (query RoI id, key RoI id), similarity).

    pairs: query RoI id, key RoI id and the query's image id of each; those that are not in the set are left out.
    """
    # Photos first, pairs of them second: asked in one, SQLite has been seen to go through all pairs of the set.
    wanted, images = {(query, key) for query, key, _ in pairs}, sorted({image for *_, image in pairs})
    rois = (Pair.query_roi_id, Pair.key_roi_id)
    question = select(Pair.image_id, Pair.neighbor_rank, Pair.rank, *rois, Pair.similarity)
    question = question.where(Pair.set_id == set_id).order_by(Pair.image_id, Pair.neighbor_rank, Pair.rank)
    found = []
    with store.session() as session:
        for start in range(0, len(images), CHUNK):
            rows = fetch_all(session, question.where(Pair.image_id.in_(images[start : start + CHUNK])))
            found += [((i, n, r), (q, k), cosine) for i, n, r, q, k, cosine in rows if (q, k) in wanted]
    return found


def known_pair_tags(store: Store, dataset_id: int) -> dict[str, int]:
    """Number of pairs by tag, of photos of a dataset, in alphabetical order."""
    pair = func.count(distinct(PairTag.query_roi_id * 2**31 + PairTag.key_roi_id))
    question = select(PairTag.tag, pair).join(Roi, Roi.id == PairTag.query_roi_id).join(Image, Image.id == Roi.image_id)
    with store.session() as session:
        members = members_of(session, dataset_id)
        rows = session.execute(
            question.where(Image.dataset_id.in_(members)).group_by(PairTag.tag).order_by(in_byte_order(PairTag.tag))
        )
        return {tag: count for tag, count in rows}  # noqa: C416


@dataclass(frozen=True)
class ListedPair:
    """A pair with its two photos; boxes are x y w h."""

    key: int
    query: Image
    neighbor: Image
    neighbor_rank: int
    rank: int
    query_roi_id: int
    key_roi_id: int
    query_box: tuple[int, int, int, int]
    key_box: tuple[int, int, int, int]
    similarity: float
    margin: float | None
    cycle: bool | None


def matches_at(store: Store, set_id: int, keys: np.ndarray) -> list[ListedPair]:
    """Return the pairs with these keys, in their order; keys that are not in the set are left out."""
    if not len(keys):
        return []
    names = ("image_id", "neighbor_rank", "rank")
    asked = values(*(column(name, Integer) for name in names), name="asked").data(pair_places(keys).tolist()).cte()
    q, k = both_rois()
    question = (
        select(Pair, Neighbor.neighbor_id, q, k)
        .select_from(asked)
        .join(
            Pair,
            (Pair.set_id == set_id)
            & (Pair.image_id == asked.c.image_id)
            & (Pair.neighbor_rank == asked.c.neighbor_rank)
            & (Pair.rank == asked.c.rank),
        )
        .join(
            Neighbor,
            (Neighbor.set_id == Pair.set_id)
            & (Neighbor.image_id == Pair.image_id)
            & (Neighbor.rank == Pair.neighbor_rank),
        )
        .join(q, q.id == Pair.query_roi_id)
        .join(k, k.id == Pair.key_roi_id)
    )
    with store.session() as session:
        rows = session.execute(question).all()
        involved = {image for pair, neighbor, *_ in rows for image in (pair.image_id, neighbor)}
        images = {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(involved)))}
    found: dict[int, ListedPair] = {}
    for pair, neighbor, query, other in rows:
        key = int(pair_keys(np.array([[pair.image_id, pair.neighbor_rank, pair.rank]]))[0])
        boxes = (query.x, query.y, query.w, query.h), (other.x, other.y, other.w, other.h)
        photos = images[pair.image_id], images[neighbor]
        where = pair.neighbor_rank, pair.rank, pair.query_roi_id, pair.key_roi_id
        found[key] = ListedPair(key, *photos, *where, *boxes, pair.similarity, pair.margin, pair.cycle)
    return [found[key] for key in keys.tolist() if key in found]


def candidate_places(store: Store, set_id: int, image_id: int, roi_ids: Sequence[int]) -> list[int | None]:
    """Where RoIs stand among an image's candidates, from 0; None for one that is no candidate."""
    question = select(Candidate.roi_id, Candidate.rank).where(Candidate.set_id == set_id)
    with store.session() as session:
        ranks = {roi: rank for roi, rank in session.execute(question.where(Candidate.image_id == image_id))}  # noqa: C416
    return [ranks[roi] - 1 if roi in ranks else None for roi in roi_ids]
