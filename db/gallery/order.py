"""The gallery: which photos of a dataset are shown, in which order, and what a set found in each.

An order is an array of image ids. Names and counts are read once for each state of a dataset and kept in memory
(docs/performance.md has the numbers); from there every filter, page, count and step is a look into arrays, wherever
the page lies. Only the tiles of a page are asked of the store.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from sqlalchemy import Select, String, cast, func, select

from orl_explorer.db.marks import Judgement, Tag, Verdict
from orl_explorer.db.models import Annotation, CorrespondenceSet, Dataset, Image, Roi, SetImage, StoredFinding
from orl_explorer.db.people.selections import selected_ids
from orl_explorer.db.people.tags import tags_of
from orl_explorer.db.photos import marks_of, members_of
from orl_explorer.db.store import Store, fetch, in_byte_order

BY_SET = {  # sort -> the column of a set that it goes by
    "pairs": SetImage.pair_count,
    "similarity": SetImage.mean_similarity,
    "regions": SetImage.candidate_count,
    "cycle": SetImage.cycle_share,
    "margin": SetImage.mean_margin,
}
MIXERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # odd 64-bit numbers that scatter what they multiply


Judged = Literal[Judgement, "any", "none"]


@dataclass(frozen=True)
class GalleryOrder:
    """What the gallery shows, and in which order; also the order of *next* and *previous*.

    ``seed`` belongs to the sort ``random``. ``category`` keeps photos with an annotated object of that category;
    ``fewest_pairs`` and ``most_pairs`` those to which the set gave that many; ``tag`` those that anybody tagged so;
    ``found`` those of which the last ingest found this (a finding's kind, or ``unreadable`` or ``gone``);
    ``verdict`` those that are the query of a pair, of any set, that anybody judged so (``any``: at all, ``none``: no
    pair); ``selection`` those of a kept selection, by its id.
    """

    dataset_id: int
    set_id: int | None = None
    sort: str = "name"
    descending: bool = False
    search: str = ""
    seed: int = 0
    category: str | None = None
    fewest_pairs: int | None = None
    most_pairs: int | None = None
    tag: str | None = None
    found: str | None = None
    verdict: Judged | None = None
    selection: int | None = None

    @property
    def by_set(self) -> bool:
        """Whether the order needs a correspondence set; without one, photos come by name."""
        return self.set_id is not None and self.sort in BY_SET

    @property
    def by_pairs(self) -> bool:
        """Whether photos are chosen by their number of pairs, which takes a set too."""
        return self.set_id is not None and (self.fewest_pairs, self.most_pairs) != (None, None)


@dataclass(frozen=True)
class Tile:
    """A photo in the gallery; the counts are None if no set covers it."""

    id: int
    path: str
    width: int
    height: int
    status: str
    error: str | None
    pair_count: int | None
    candidate_count: int | None
    mean_similarity: float | None
    cycle_share: float | None
    mtime_ns: int  # of the file; part of a picture's URL
    tags: tuple[str, ...] = ()


def gallery_page(store: Store, order: GalleryOrder, offset: int, limit: int) -> list[Tile]:
    """Return the tiles of a page, from ``offset`` on."""
    return tiles_of(store, gallery_ids(store, order)[offset : offset + limit].tolist(), order.set_id)


def tiles_of(store: Store, ids: Sequence[int], set_id: int | None) -> list[Tile]:
    """Return the tiles of photos, by id, with their counts in a set, if any."""
    own = (SetImage.image_id == Image.id) & (SetImage.set_id == (set_id or 0))
    photo = (Image.id, Image.path, Image.width, Image.height, Image.status, Image.error)
    mined = (SetImage.pair_count, SetImage.candidate_count, SetImage.mean_similarity, SetImage.cycle_share)
    question = select(*photo, *mined, Image.mtime_ns).outerjoin_from(Image, SetImage, own).where(Image.id.in_(ids))
    with store.session() as session:
        rows = {row.id: row._mapping for row in session.execute(question)}
    tags = tags_of(store, ids)
    return [Tile(**rows[i], tags=tags.get(i, ())) for i in ids]


def gallery_count(store: Store, order: GalleryOrder) -> int:
    """Return the number of photos in the gallery."""
    return len(gallery_ids(store, order))


def step(store: Store, order: GalleryOrder, image_id: int, forward: bool) -> int | None:
    """Return the photo after (or before) this one in the gallery; None at its end, and for a photo outside it."""
    ids = gallery_ids(store, order)
    there = np.flatnonzero(ids == image_id)
    if not len(there):
        return None
    following = int(there[0]) + (1 if forward else -1)
    return int(ids[following]) if 0 <= following < len(ids) else None


def gallery_ids(store: Store, order: GalleryOrder) -> np.ndarray:
    """Return the ids of the photos in the gallery, int64 [n], in order; read-only."""
    return _gallery_ids(store, order, _state(store, order))


# What is kept in memory --------------------------------------------------------------------------------

_State = tuple[int, int, int]  # of dataset, set, and marks: what was read in one state holds as long as it does


def _state(store: Store, order: GalleryOrder) -> _State:
    status = select(CorrespondenceSet.status).where(CorrespondenceSet.id == (order.set_id or 0)).scalar_subquery()
    with store.session() as session:
        row = session.execute(select(Dataset.revision, status).where(Dataset.id == order.dataset_id)).one_or_none()
    revision, grows = (row[0], row[1] not in (None, "complete")) if row else (0, False)
    by_marks = order.tag is not None or order.verdict is not None  # other orders hold whatever is marked
    marks = marks_of(store, order.dataset_id) if by_marks else 0
    return revision, time.monotonic_ns() if grows else 0, marks  # a set that grows has no state


@lru_cache(maxsize=64)
def _gallery_ids(store: Store, order: GalleryOrder, state: _State) -> np.ndarray:
    unfiltered = GalleryOrder(
        order.dataset_id,
        order.set_id,
        order.sort,
        seed=order.seed,
        fewest_pairs=order.fewest_pairs,
        most_pairs=order.most_pairs,
    )
    shown = _sorted(store, unfiltered, (*state[:2], 0))
    if order.search:
        shown = shown[np.isin(shown, _names(store, order.dataset_id, state[0]).with_part(order.search))]
    if order.category is not None:
        shown = shown[np.isin(shown, _annotated(store, order.dataset_id, order.category, state[0]))]
    if order.tag is not None:
        shown = shown[np.isin(shown, _tagged(store, order.dataset_id, order.tag, state[2]))]
    if order.found is not None:
        shown = shown[np.isin(shown, _found(store, order.dataset_id, order.found, state[0]))]
    if order.verdict is not None:
        verdict = None if order.verdict in ("any", "none") else order.verdict
        judged = _judged(store, order.dataset_id, verdict, state[2])
        shown = shown[np.isin(shown, judged, invert=order.verdict == "none")]
    if order.selection is not None:
        shown = shown[np.isin(shown, selected_ids(store, order.selection))]
    shown = shown[::-1] if order.descending else shown
    shown.flags.writeable = False
    return shown


@lru_cache(maxsize=16)
def _sorted(store: Store, order: GalleryOrder, state: _State) -> np.ndarray:
    """The photos in ascending order, filtered by nothing but pairs."""
    shown = _names(store, order.dataset_id, state[0]).ids
    if order.by_set:
        assert order.set_id is not None
        counts = _counts(store, order.set_id, state[1])
        ids = counts.ids[np.lexsort((counts.ids, counts.of[order.sort]))]
        shown = ids[np.isin(ids, shown)]
    elif order.sort == "random":
        shown = shuffled(shown, order.seed)
    if order.by_pairs:
        assert order.set_id is not None
        counts = _counts(store, order.set_id, state[1])
        least = 0 if order.fewest_pairs is None else order.fewest_pairs
        most = np.inf if order.most_pairs is None else order.most_pairs
        shown = shown[np.isin(shown, counts.ids[(counts.of["pairs"] >= least) & (counts.of["pairs"] <= most)])]
    return shown


def shuffled(ids: np.ndarray, seed: int, first: int | None = None) -> np.ndarray:
    """Ids, int64 [n], in an order that depends on the seed and on them alone: those added later fall in between.

    first: how many of them are wanted, the first ones; all by default.
    """
    mixed = ids.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, mixer in zip((30, 27), MIXERS, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(mixer)
    mixed ^= mixed >> np.uint64(31)
    if first is not None and first < len(ids):
        some = np.argpartition(mixed, first)[:first]  # different ids are mixed to different numbers
        ids, mixed = ids[some], mixed[some]
    return ids[np.lexsort((ids, mixed))]


@dataclass(frozen=True)
class _Names:
    """Current photos of a dataset by name.

    ids: int64 [n]. text: uint8, all paths in lower case and UTF-8, a line each. start: int64 [n], where each begins.
    """

    ids: np.ndarray
    text: np.ndarray
    start: np.ndarray

    def with_part(self, part: str) -> np.ndarray:
        """Ids of the photos whose path contains this, in lower or upper case: one look through all of the text."""
        looked_for = part.lower().encode()
        longest = int(np.diff(self.start, append=len(self.text)).max(initial=1)) - 1  # without its line feed
        if b"\n" in looked_for or len(looked_for) > longest:  # also bounds the looks, whatever a URL asks for
            return self.ids[:0]
        places = len(self.text) - len(looked_for) + 1
        found = np.ones(places, bool)
        for at, byte in enumerate(looked_for):
            found &= self.text[at : at + places] == byte
        return self.ids[np.unique(np.searchsorted(self.start, np.flatnonzero(found), "right")) - 1]


@lru_cache(maxsize=4)
def _names(store: Store, dataset_id: int, revision: int) -> _Names:
    ids, lower = [], []
    with store.session() as session:
        current = (Image.dataset_id.in_(members_of(session, dataset_id)), Image.superseded_by.is_(None))
        for block in fetch(
            session, select(Image.id, Image.path).where(*current).order_by(in_byte_order(Image.path), Image.id)
        ):
            ids += [i for i, _ in block]
            lower += [path.lower() for _, path in block]
    lines = [f"{path}\n".encode() for path in lower]
    start = np.cumsum([0, *map(len, lines)])[:-1]
    return _Names(np.array(ids, np.int64), np.frombuffer(b"".join(lines), np.uint8), start)


@dataclass(frozen=True)
class _Counts:
    """Photos of a set by id, int64 [n], and for each sort what it goes by, float64 [n]; -inf where there is none."""

    ids: np.ndarray
    of: dict[str, np.ndarray]


@lru_cache(maxsize=4)
def _counts(store: Store, set_id: int, state: int) -> _Counts:
    columns = (SetImage.image_id, *BY_SET.values())
    question = select(*columns).where(SetImage.set_id == set_id).order_by(SetImage.image_id)
    none = np.empty((0, len(columns)))
    with store.session() as session:
        rows = np.concatenate([none, *(np.array(block, np.float64) for block in fetch(session, question))])
    rows[np.isnan(rows)] = -np.inf  # before every number, as databases have it
    return _Counts(rows[:, 0].astype(np.int64), dict(zip(BY_SET, rows.T[1:], strict=True)))


@lru_cache(maxsize=128)  # COCO has 80 categories
def _annotated(store: Store, dataset_id: int, category: str, revision: int) -> np.ndarray:
    """Photos with an object of a category, int64 [n]; some may be of other datasets."""
    return _distinct(store, select(Annotation.image_id).where(Annotation.category == category))


@lru_cache(maxsize=16)
def _found(store: Store, dataset_id: int, found: str, revision: int) -> np.ndarray:
    """Photos with a finding of a kind, or in a state, int64 [n]; some may be of other datasets."""
    if found in ("unreadable", "gone"):
        return _distinct(store, select(Image.id).where(Image.status == found))
    return _distinct(
        store,
        select(Image.id).join(StoredFinding, StoredFinding.image_id == Image.id).where(StoredFinding.kind == found),
    )


@lru_cache(maxsize=16)
def _tagged(store: Store, dataset_id: int, tag: str, marks: int) -> np.ndarray:
    """Photos with a tag, int64 [n]; some may be of other datasets."""
    return _distinct(store, select(Tag.image_id).where(Tag.tag == tag))


@lru_cache(maxsize=8)
def _judged(store: Store, dataset_id: int, verdict: Judgement | None, marks: int) -> np.ndarray:
    """Photos that are the query of a pair with a verdict, or with any, int64 [n]; some may be of other datasets."""
    question = select(Roi.image_id).join(Verdict, Verdict.query_roi_id == Roi.id)
    return _distinct(store, question if verdict is None else question.where(Verdict.verdict == verdict))


def _distinct(store: Store, question: Select[int]) -> np.ndarray:
    """What a question for ids finds, int64 [n], ascending; as one text, in a fraction of the time that rows take."""
    (asked,) = question.subquery().c  # not DISTINCT in there: SQLite would walk through all RoIs to have them in order
    with store.session() as session:
        text = session.scalar(select(func.aggregate_strings(cast(asked, String), ",")))
    return np.unique(np.fromstring(text or "", np.int64, sep=","))
