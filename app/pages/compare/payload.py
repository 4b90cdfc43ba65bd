"""Data that the Compare page sends to its component: one query photo and one neighbour in two sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from orl_explorer.app.pages.compare.component import (
    ComparedPair,
    ComparedPhoto,
    ComparedRow,
    ComparedThumb,
    ComparePayload,
    Pane,
)
from orl_explorer.app.pages.compare.component import ComparePlace as RankPlace
from orl_explorer.app.pages.forms import settings_described
from orl_explorer.app.pages.pair.component import ShownPhoto
from orl_explorer.app.pages.picture import picture
from orl_explorer.app.pages.shell import describe_set
from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.models import CorrespondenceSet, Image
from orl_explorer.db.sets.comparison import Overlap
from orl_explorer.db.sets.read import NeighborImage, PairRow, rois_of
from orl_explorer.train.mining.compared import NeighborDifference, PairDifference, Status, pairs_overlap
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace


@dataclass(frozen=True)
class ComparedQuery:
    """A query photo in two sets, all its neighbours and pairs in either, and the neighbour on screen."""

    workspace: Workspace
    sets: tuple[CorrespondenceSet, CorrespondenceSet]
    image: Image
    neighbors: list[NeighborDifference]
    pairs: dict[int, list[PairDifference]]  # by id of the neighbour
    current: NeighborDifference

    @property
    def neighbor_counts(self) -> dict[Status, int]:
        """Numbers of kept, lost and new neighbours."""
        return _counted(n.status for n in self.neighbors)

    @property
    def overlap(self) -> Overlap:
        """How many pairs with all neighbours each set has, and how many of them the other has too."""
        return pairs_overlap([pair for some in self.pairs.values() for pair in some])


def payload(query: ComparedQuery, selected: str, following: Image | None, place: dict[str, str]) -> ComparePayload:
    """Return the data of the view. selected: id of the selected pair, from the URL. place: see ComparePayload."""
    current = query.current.image
    pairs = query.pairs.get(current.id, [])
    ids = [f"{row.query_roi_id}-{row.key_roi_id}" for row in map(_drawn, pairs)]
    one, other = (_pane(query, number, pairs, ids) for number in (0, 1))
    return {
        "neighbor": current.id,
        "neighbors": [_thumb(query, neighbor) for neighbor in query.neighbors],
        "panes": (one, other),
        "rows": [_row(pair, id_, number) for number, (pair, id_) in enumerate(zip(pairs, ids, strict=True), 1)],
        "selected": selected if selected in ids else None,
        "place": place,
        "caption": _caption(query),
        "crop_url": picture_urls().any_crop,
        "prefetch": [picture_urls().photo(following.id, following.mtime_ns)] if following else [],
    }


def _pane(query: ComparedQuery, number: int, pairs: list[PairDifference], ids: list[str]) -> Pane:
    mined, current = query.sets[number], query.current.image
    place = query.current.second if number else query.current.first
    rois = rois_of(query.workspace.store, mined.id, [query.image.id, current.id])
    boxes = [rois[i].boxes if i in rois else np.empty((0, 4), np.int16) for i in (query.image.id, current.id)]
    index = [{tuple(box): i for i, box in enumerate(some.tolist())} for some in boxes]
    drawn: list[ComparedPair] = []
    for at, (pair, id_) in enumerate(zip(pairs, ids, strict=True), 1):
        row = pair.second if number else pair.first
        if row is not None:
            q, k = (where[box] for where, box in zip(index, (row.query_box, row.key_box), strict=True))
            drawn.append({"id": id_, "number": at, "status": pair.status, "q": q, "k": k, "similarity": row.similarity})
    return {
        "title": f"{'AB'[number]} · {mined.name}",
        "note": describe_set(query.workspace, mined),
        "query": _photo(query.image, boxes[0]),
        "neighbor": ComparedPhoto(
            **_photo(current, boxes[1]),
            rank=place.rank if place else None,
            similarity=place.similarity if place else None,
        ),
        "pairs": drawn,
    }


def _caption(query: ComparedQuery) -> list[str]:
    """Return the caption of a saved figure."""
    first, second = query.current.first, query.current.second
    places = [
        f"number {place.rank} in {letter} (cosine {place.similarity:.3f})"
        for letter, place in (("A", first), ("B", second))
        if place is not None
    ]
    return [
        *(
            f"{letter}: correspondence set {mined.name}, {describe_set(query.workspace, mined)}. "
            f"{settings_described(MineConfig.of(mined))}."
            for letter, mined in zip("AB", query.sets, strict=True)
        ),
        f"Query {query.image.path}; neighbour {query.current.image.path}, {' and '.join(places)}.",
    ]


def _photo(image: Image, boxes: np.ndarray) -> ShownPhoto:
    return ShownPhoto(**picture(image, picture_urls()), boxes=boxes.tolist(), rejected=[])


def _thumb(query: ComparedQuery, neighbor: NeighborDifference) -> ComparedThumb:
    return {
        "id": neighbor.image.id,
        "name": PurePosixPath(neighbor.image.path).name,
        "thumb": picture_urls().photo(neighbor.image.id, neighbor.image.mtime_ns, WIDTHS[0]),
        "status": neighbor.status,
        "first": _place(neighbor.first),
        "second": _place(neighbor.second),
        "counts": _counted(p.status for p in query.pairs.get(neighbor.image.id, [])),
    }


def _place(neighbor: NeighborImage | None) -> RankPlace | None:
    return {"rank": neighbor.rank, "similarity": neighbor.similarity} if neighbor else None


def _drawn(pair: PairDifference) -> PairRow:
    """Return the pair that names a row and whose crops it shows: that of the first set, if it has one."""
    row = pair.first or pair.second
    assert row is not None
    return row


def _row(pair: PairDifference, id_: str, number: int) -> ComparedRow:
    first, second = (row.similarity if row else None for row in (pair.first, pair.second))
    shown = _drawn(pair)
    boxes = ([float(v) for v in shown.query_box], [float(v) for v in shown.key_box])
    return {"id": id_, "number": number, "status": pair.status, "boxes": boxes, "similarity": (first, second)}


def _counted(statuses: Iterable[Status]) -> dict[Status, int]:
    found = Counter(statuses)
    return {"kept": found["kept"], "lost": found["lost"], "new": found["new"]}
