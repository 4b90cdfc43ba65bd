"""Verdicts and tags on the photos and pairs of one set, for export."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Select, select

from orl_explorer.db.marks import PairTag, Tag, Verdict
from orl_explorer.db.models import Roi, SetImage, both_rois
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.sets.pairs import matches_at, pair_keys, places_of
from orl_explorer.db.store import Store, in_byte_order

_Box = tuple[int, int, int, int]


class MarkRow(NamedTuple):
    """A verdict or a tag; without RoIs it is on the photo as a whole. Boxes are x y w h."""

    image_id: int
    neighbor_id: int | None
    query: _Box | None
    key: _Box | None
    similarity: float | None
    mark: str
    author: str
    created_at: datetime


def verdict_rows(store: Store, set_id: int) -> Iterator[MarkRow]:
    """Yield the verdicts on the set's pairs, by photo."""
    return _on_pairs(store, set_id, select(Verdict.query_roi_id, Verdict.key_roi_id, Verdict.verdict), Verdict)


def tag_rows(store: Store, set_id: int) -> Iterator[MarkRow]:
    """Yield the tags on the set's photos, then on its pairs, by photo."""
    of_set = (SetImage.image_id == Tag.image_id) & (SetImage.set_id == set_id)
    with store.session() as session:
        on_photos = select(Tag).join(SetImage, of_set)
        on_photos = on_photos.order_by(Tag.image_id, in_byte_order(Tag.tag), in_byte_order(Tag.author))
        tags = session.scalars(on_photos).all()
    for row in tags:
        yield MarkRow(row.image_id, None, None, None, None, row.tag, row.author, row.created_at)
    yield from _on_pairs(store, set_id, select(PairTag.query_roi_id, PairTag.key_roi_id, PairTag.tag), PairTag)


def _on_pairs(
    store: Store, set_id: int, marks: Select[int, int, str], table: type[Verdict] | type[PairTag]
) -> Iterator[MarkRow]:
    """Marks, given as (query RoI id, key RoI id, word), on those pairs that are in the set."""
    q, k = both_rois()
    question = marks.add_columns(table.author, table.created_at, q, k)
    question = question.join(q, q.id == table.query_roi_id).join(k, k.id == table.key_roi_id)
    by_pair: dict[tuple[int, int], list[Any]] = {}
    with store.session() as session:
        for query, key, *rest in session.execute(
            question.order_by(in_byte_order(marks.selected_columns[2]), in_byte_order(table.author))
        ):
            by_pair.setdefault((query, key), []).append(rest)
    places = places_of(store, set_id, [(query, key, rows[0][3].image_id) for (query, key), rows in by_pair.items()])
    for start in range(0, len(places), CHUNK):
        some = places[start : start + CHUNK]
        cards = matches_at(store, set_id, pair_keys(np.array([place for place, *_ in some], np.int64)))
        for match, (_, pair, _) in zip(cards, some, strict=True):
            similarity = match.similarity if table is Verdict else None
            for word, author, when, query_roi, key_roi in by_pair[pair]:
                boxes = _box(query_roi), _box(key_roi)
                yield MarkRow(match.query.id, match.neighbor.id, *boxes, similarity, word, author, when)


def _box(roi: Roi) -> _Box:
    return roi.x, roi.y, roi.w, roi.h
