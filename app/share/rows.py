"""Data of a shared folder, as its scripts read them. Photos have numbers in the folder instead of ids."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from orl_explorer.app.share.choice import ShareChoice
from orl_explorer.db.people.export import verdict_rows
from orl_explorer.db.sets import read
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.words import visible

if TYPE_CHECKING:
    from orl_explorer.db.models import Image

CHUNK = 48  # photos of a file


class SharedPhoto(TypedDict):
    """A photo of the gallery. picture: whether there is one. mean: of its pairs' cosines. cycle: share of them."""

    name: str
    width: int
    height: int
    picture: bool
    rois: int
    pairs: int
    mean: float | None
    cycle: float | None


class SharedRows(TypedDict):
    """RoIs, neighbours and pairs of a photo.

    rois: x, y, w, h of each, flat. objectness: empty if the set does not use it. neighbors: rank, number of the photo,
    cosine. pairs: rank of the neighbour, indices of query RoI and key RoI, cosine, margin, consistent, verdict.
    """

    rois: list[int]
    objectness: list[float]
    neighbors: list[tuple[int, int, float]]
    pairs: list[tuple[int, int, int, float, float | None, bool | None, str | None]]


class SharedMatches(TypedDict):
    """All pairs as columns, base64, little-endian: photo (uint32), place among its pairs (uint16), and float32."""

    count: int
    photo: str
    place: str
    similarity: str
    margin: str
    cycle: str


def index_of(choice: ShareChoice, pictured: set[int], rows: dict[int, SharedRows]) -> list[SharedPhoto]:
    """Return the photos of the gallery, and their neighbours after them. rows: of all photos, by number."""
    return [_photo(image, at in pictured, rows[at]) for at, image in enumerate(choice.images)]


def _photo(image: Image, pictured: bool, own: SharedRows) -> SharedPhoto:
    cosines, ways = [pair[3] for pair in own["pairs"]], [pair[5] for pair in own["pairs"] if pair[5] is not None]
    return {
        "name": visible(image.path),
        "width": max(1, image.width),
        "height": max(1, image.height),
        "picture": pictured,
        "rois": len(own["rois"]) // 4,
        "pairs": len(cosines),
        "mean": round(sum(cosines) / len(cosines), 4) if cosines else None,
        "cycle": round(sum(ways) / len(ways), 4) if ways else None,
    }


def rows_of_photos(choice: ShareChoice) -> Iterator[tuple[int, SharedRows]]:
    """Yield the number of each photo, and what the set holds of it. Other neighbours have RoIs alone."""
    store, mined, number = choice.workspace.store, choice.mined, choice.number
    uses = MineConfig.of(mined).needs_objectness
    verdicts = _verdicts(choice) if choice.asked.verdicts else {}
    ids = [image.id for image in choice.images]
    for start in range(0, len(ids), CHUNK):
        block = ids[start : start + CHUNK]
        queries = [image_id for image_id in block if number[image_id] < choice.queries]
        pairs = read.pair_rows(store, mined.id, queries)
        near = {i: read.neighbors_of(store, mined.id, i) for i in queries}
        keys = {pair.neighbor_id for own in pairs.values() for pair in own if pair.neighbor_id in number}
        rois = read.rois_of(store, mined.id, [*block, *keys])
        places = {i: {roi: at for at, roi in enumerate(own.ids.tolist())} for i, own in rois.items()}
        for image_id in block:
            own = rois[image_id]
            shown = [pair for pair in pairs.get(image_id, []) if pair.neighbor_id in number]
            yield (
                number[image_id],
                {
                    "rois": own.boxes.ravel().tolist(),
                    "objectness": np.round(own.objectness, 4).tolist() if uses else [],
                    "neighbors": [
                        (each.rank, number[each.image.id], round(each.similarity, 4))
                        for each in near.get(image_id, [])
                        if each.image.id in number
                    ],
                    "pairs": [
                        (
                            *(pair.neighbor_rank, places[image_id][pair.query_roi_id]),
                            *(places[pair.neighbor_id][pair.key_roi_id], round(pair.similarity, 4)),
                            *(None if pair.margin is None else round(pair.margin, 4), pair.cycle),
                            verdicts.get((image_id, pair.neighbor_id, pair.query_box, pair.key_box)),
                        )
                        for pair in shown
                    ],
                },
            )


_Marked = tuple[int, int | None, tuple[int, ...] | None, tuple[int, ...] | None]  # photo, neighbour, both boxes


def _verdicts(choice: ShareChoice) -> dict[_Marked, str]:
    """Return the verdicts on which all agree who judged a pair."""
    found: dict[_Marked, set[str]] = {}
    for row in verdict_rows(choice.workspace.store, choice.mined.id):
        found.setdefault((row.image_id, row.neighbor_id, row.query, row.key), set()).add(row.mark)
    return {pair: next(iter(said)) for pair, said in found.items() if len(said) == 1}


def matches_of(rows: dict[int, SharedRows]) -> SharedMatches:
    """Return all pairs as columns. rows: of all photos, by number."""
    pairs = [(at, place, *pair[3:6]) for at, own in rows.items() for place, pair in enumerate(own["pairs"])]
    columns = np.array([[np.nan if value is None else value for value in row] for row in pairs], np.float64)
    columns = columns.reshape(-1, 5)
    kinds = ("<u4", "<u2", "<f4", "<f4", "<f4")
    each_as = zip(columns.T, kinds, strict=True)
    photo, place, similarity, margin, cycle = (
        base64.b64encode(column.astype(kind).tobytes()).decode() for column, kind in each_as
    )
    return {
        "count": len(pairs),
        "photo": photo,
        "place": place,
        "similarity": similarity,
        "margin": margin,
        "cycle": cycle,
    }
