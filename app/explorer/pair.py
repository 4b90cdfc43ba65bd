"""Data of the Pair page: one call looks up and computes everything about a query photo and one of its neighbours.

The result consists of plain values. A page draws them without the store and without forward passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np

from orl_explorer.app.explorer import preview
from orl_explorer.app.explorer.preview import FilteredPhoto, PreviewSubject
from orl_explorer.app.explorer.rejections import PlainBox, Rejected, as_box
from orl_explorer.app.explorer.why import Fact, facts_of, rank_of
from orl_explorer.db.gallery.order import GalleryOrder, step
from orl_explorer.db.marks import Judgement
from orl_explorer.db.models import Image
from orl_explorer.db.people.verdicts import verdicts_of
from orl_explorer.db.photos import image_by_id
from orl_explorer.db.sets import read
from orl_explorer.db.sets.read import NeighborImage
from orl_explorer.orl.matching import Pairs, cosines, pair_count
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.candidates import Described, choose_pairs
from orl_explorer.train.mining.config import MineConfig

SHOWN_REJECTED = 120  # rejected boxes shown of each photo, the largest; more would hide the photo
SideName = Literal["query", "neighbor"]


@dataclass(frozen=True)
class RoiName:
    """The name of a box in URLs and triggers: ``q3`` is the query's fourth RoI, ``nx12`` the neighbour's raw box 12."""

    side: SideName
    rejected: bool
    index: int

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """What a text names; None where it names nothing."""
        found = re.fullmatch(r"([qn])(x?)(\d{1,6})", text, re.ASCII) if isinstance(text, str) else None
        return cls("query" if found[1] == "q" else "neighbor", bool(found[2]), int(found[3])) if found else None

    def __str__(self) -> str:
        return f"{self.side[0]}{'x' * self.rejected}{self.index}"


class PairName(NamedTuple):
    """The name of a pair in URLs: ``3-0`` is the query's fourth RoI with the neighbour's first."""

    q: int
    k: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What a text names; None where it names nothing."""
        found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text, re.ASCII)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.q}-{self.k}"


@dataclass(frozen=True)
class Asked:
    """A request for a view.

    order: of the query photos. author: of the verdicts. rank: of the neighbour; the last one if there are fewer.
    beside: a photo that need not be a neighbour, with rank 0. roi: the clicked box.
    """

    image: Image
    config: MineConfig
    order: GalleryOrder
    author: str
    rank: int = 1
    beside: Image | None = None
    pair: PairName | None = None
    roi: RoiName | None = None

    @property
    def needs_all(self) -> bool:
        """Whether the boxes of all neighbours are needed, not only of the one on screen."""
        asks_for_matches = self.roi is not None and self.roi.side == "query" and not self.roi.rejected
        return self.config.counts_vary or asks_for_matches


@dataclass(frozen=True)
class MissingWork:
    """Work that takes time: photos without raw boxes, a feature or a map, and boxes without a feature."""

    searches: int = 0
    photos: int = 0
    maps: int = 0
    boxes: int = 0


Meanwhile = Callable[[MissingWork], AbstractContextManager[object]]  # a context around each such work


@dataclass(frozen=True)
class SeenPhoto:
    """A photo. Width and height are in pixels as shown."""

    id: int
    path: str
    mtime_ns: int
    width: int
    height: int

    @classmethod
    def of(cls, image: Image) -> Self:
        """Return the photo of a row."""
        return cls(image.id, image.path, image.mtime_ns, image.width, image.height)


@dataclass(frozen=True)
class Seen:
    """One of the two photos, with its filtered boxes.

    boxes: its RoIs in rank order. rejected: the largest of the others. counts: numbers of raw boxes, as in
    ``orl.boxes.Filtered.counts``. fallback: whether no box was kept, so that the only RoI is the fall-back box.
    """

    photo: SeenPhoto
    boxes: tuple[PlainBox, ...]
    rejected: tuple[Rejected, ...]
    counts: dict[str, int]
    fallback: bool


@dataclass(frozen=True)
class RankedNeighbor:
    """A neighbour of the query. ``pairs``: their number, None if it would need a forward pass."""

    rank: int
    photo: SeenPhoto
    similarity: float
    pairs: int | None


@dataclass(frozen=True)
class RankedPair:
    """Two RoIs, the query's ``q`` and the neighbour's ``k``. rank: 1 is the best."""

    rank: int
    q: int
    k: int
    similarity: float
    verdict: Judgement | None


@dataclass(frozen=True)
class RoiMatch:
    """The best match of a RoI in one photo: the query (``rank`` None) or a neighbour.

    index, box, similarity: of the match; None if they would need a forward pass.
    """

    rank: int | None
    photo_id: int
    index: int | None = None
    box: PlainBox | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Looked:
    """The data of a view.

    held: whether the set holds the query; else this is what mining would find for it. rank: of the neighbour on screen.
    similar: cosines of all RoIs of the two, float32 [B_q, B_k]. outside: the selected pair if it is not kept; refused:
    the rule that keeps it out, "" if there are N better ones. facts: what decides on the selected pair. matches: of the
    clicked RoI. explained: what would keep the clicked raw box, or "". agreement: number of the set's pairs that the
    approximation also finds, and number of the set's pairs; None without approximation, or if the set does not hold the
    query. following: the next query. missing: work that was done for this view.
    """

    config: MineConfig
    held: bool
    query: Seen
    neighbor: Seen
    rank: int
    neighbors: tuple[RankedNeighbor, ...]
    pairs: tuple[RankedPair, ...]
    similar: np.ndarray
    selected: PairName | None
    outside: RankedPair | None
    refused: str
    facts: tuple[Fact, ...]
    roi: RoiName | None
    matches: tuple[RoiMatch, ...] | None
    explained: str
    agreement: tuple[int, int] | None
    following: SeenPhoto | None
    missing: MissingWork

    @property
    def limit(self) -> int:
        """Largest number of pairs to keep."""
        return pair_count(self.config.pair_ratio, len(self.query.boxes))


def look(subject: PreviewSubject, asked: Asked, meanwhile: Meanwhile = lambda _: nullcontext()) -> Looked | None:
    """Return the data of a query and one of its neighbours.

    If the set does not hold the photo: what mining would find for it among the photos of the set, or None if it cannot
    be read. meanwhile: shows work in progress. Raises UserError.
    """
    subject = replace(subject, roots=subject.folders())
    config = asked.config
    held = read.holds(subject.workspace.store, subject.mined.id, asked.image.id)
    if not held and asked.image.status != "ok":
        return None
    unseen = 0 if held else preview.missing_photos(subject, asked.image)
    with meanwhile(MissingWork(photos=unseen)):
        found = _around(subject, asked)
    rank = min(max(found[0].rank, asked.rank), found[-1].rank)
    needed = found if asked.needs_all else [n for n in found if n.rank == rank]
    photos = [asked.image, *(n.image for n in needed)]
    searches, maps = preview.missing_searches(subject, photos), preview.missing_maps(subject, photos, config)
    with meanwhile(MissingWork(searches, maps=maps)):
        query, *others = preview.sides(subject, photos, config)
    sides = {n.rank: side for n, side in zip(needed, others, strict=True)}
    key = sides[rank]
    boxes = preview.missing_boxes(subject, query, key)
    with meanwhile(MissingWork(boxes=boxes)):
        rois = preview.described_side(subject, query, config), preview.described_side(subject, key, config)
    similar = cosines(rois[0].features, rois[1].features)
    verdicts = verdicts_of(subject.workspace.store, asked.image.id, asked.author)

    def judged(q: int, k: int) -> Judgement | None:
        return verdicts.get((as_box(query.boxes[q]), key.image.id, as_box(key.boxes[k])))

    kept = choose_pairs(similar, rois[0].traits, rois[1].traits, config, nearest=rank == 1)
    pairs = _ranked(kept, judged)
    selected, outside, refused = asked.pair, None, ""
    if selected and not (selected.q < len(query.boxes) and selected.k < len(key.boxes)):
        selected = None
    if selected and selected not in {(pair.q, pair.k) for pair in pairs}:
        place = rank_of(similar, *rois, selected)
        outside = RankedPair(place, *selected, float(similar[selected]), judged(*selected))
        refused = preview.refused(similar, *rois, selected, kept, config)
    return Looked(
        config=config,
        held=held,
        query=_seen(query),
        neighbor=_seen(key),
        rank=rank,
        neighbors=_counted(subject, found, rois[0], sides, config),
        pairs=pairs,
        similar=similar,
        selected=selected,
        outside=outside,
        refused=refused,
        facts=_facts(similar, rois, (query, key), selected, config) if selected else (),
        roi=asked.roi,
        matches=_matches(subject, asked.roi, query, key, sides) if asked.roi else None,
        explained=_explained(subject, asked.roi, query, key, config) if asked.roi else "",
        agreement=preview.agreement(subject, asked.image, key.image, rank) if subject.approximate and held else None,
        following=_following(subject, asked),
        missing=MissingWork(searches, unseen, maps, boxes),
    )


def _around(subject: PreviewSubject, asked: Asked) -> list[NeighborImage]:
    """Return the photos that may be shown beside the query, by rank. Raises UserError if there are none."""
    found = preview.neighbors(subject, asked.image, asked.config.neighbors)
    if asked.beside is not None:
        return [preview.shown_beside(subject, asked.image, asked.beside), *found]
    if not found:
        deleted = read.set_by_id(subject.workspace.store, subject.mined.id) is None
        raise UserError("The set was deleted." if deleted else "This photo has no neighbour in the set.")
    return found


def _counted(
    subject: PreviewSubject,
    found: Sequence[NeighborImage],
    query: Described,
    sides: Mapping[int, FilteredPhoto],
    config: MineConfig,
) -> tuple[RankedNeighbor, ...]:
    """Return all neighbours with their numbers of pairs. sides: those with boxes, by rank."""
    totals = [preview.pair_total(subject, query, sides.get(n.rank), n.rank, config) for n in found]
    return tuple(
        RankedNeighbor(n.rank, SeenPhoto.of(n.image), n.similarity, total)
        for n, total in zip(found, totals, strict=True)
    )


def _seen(side: FilteredPhoto) -> Seen:
    boxes = tuple(map(as_box, side.boxes))
    rejected = tuple(preview.explain(side, SHOWN_REJECTED))
    return Seen(SeenPhoto.of(side.image), boxes, rejected, side.filtered.counts(), side.filtered.fallback)


def _ranked(pairs: Pairs, judged: Callable[[int, int], Judgement | None]) -> tuple[RankedPair, ...]:
    rows = zip(pairs.query.tolist(), pairs.key.tolist(), pairs.similarity.tolist(), strict=True)
    return tuple(RankedPair(rank, q, k, cosine, judged(q, k)) for rank, (q, k, cosine) in enumerate(rows, 1))


def _facts(
    similar: np.ndarray,
    rois: tuple[Described, Described],
    sides: tuple[FilteredPhoto, FilteredPhoto],
    pair: PairName,
    config: MineConfig,
) -> tuple[Fact, ...]:
    objectness = [float(side.candidates.objectness[at]) for side, at in zip(sides, pair, strict=True)]
    known = (objectness[0], objectness[1]) if config.needs_objectness else None
    return facts_of(similar, rois, known, pair, pair_count(config.pair_ratio, len(similar)))


def _matches(
    subject: PreviewSubject,
    roi: RoiName,
    query: FilteredPhoto,
    key: FilteredPhoto,
    neighbors: Mapping[int, FilteredPhoto],
) -> tuple[RoiMatch, ...] | None:
    """Return the best matches of a query RoI in all neighbours, or of a neighbour's RoI in the query."""
    others: list[tuple[int | None, FilteredPhoto]] = [*neighbors.items()] if roi.side == "query" else [(None, query)]
    side = query if roi.side == "query" else key
    if roi.rejected or roi.index >= len(side.boxes):
        return None
    vector = preview.features(subject, side)[roi.index]
    return tuple(_match(subject, vector, rank, other) for rank, other in others)


def _match(subject: PreviewSubject, vector: np.ndarray, rank: int | None, other: FilteredPhoto) -> RoiMatch:
    best = preview.best_match(subject, vector, other)
    if best is None:
        return RoiMatch(rank, other.image.id)
    return RoiMatch(rank, other.image.id, best.index, as_box(other.boxes[best.index]), best.similarity)


def _explained(
    subject: PreviewSubject, roi: RoiName, query: FilteredPhoto, key: FilteredPhoto, config: MineConfig
) -> str:
    side = query if roi.side == "query" else key
    return preview.counterfactual(subject, side, config, roi.index) if roi.rejected else ""


def _following(subject: PreviewSubject, asked: Asked) -> SeenPhoto | None:
    store = subject.workspace.store
    following = step(store, asked.order, asked.image.id, forward=True)
    found = image_by_id(store, following) if following else None
    return SeenPhoto.of(found[0]) if found else None
