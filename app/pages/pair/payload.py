"""Data that the Pair page sends to its component."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from orl_explorer.app.explorer.pair import Looked, RankedNeighbor, RankedPair, RoiMatch, Seen
from orl_explorer.app.explorer.rejections import PlainBox, Rejected
from orl_explorer.app.pages.pair import component
from orl_explorer.app.pages.pair.component import (
    Answering,
    BestMatchItem,
    BestMatchList,
    Explained,
    Matrix,
    NeighborPhoto,
    NeighborThumb,
    OutsidePair,
    PairFact,
    PairHeat,
    PairPayload,
    PairReasons,
    RejectedBox,
    ShownPair,
)
from orl_explorer.app.pages.picture import picture
from orl_explorer.app.server.urls import WIDTHS, PictureUrls

INFERNO = ["#000004", "#420a68", "#932667", "#dd513a", "#fca50a", "#fcffa4"]
PACKED = 10_000  # a cosine is sent as an integer, multiplied by this


@dataclass(frozen=True)
class Heat:
    """The selected attention map: its encoder and its method."""

    encoder_id: int
    encoder: str
    cosine: bool


@dataclass(frozen=True)
class Around:
    """Context of the view.

    heat: the attention map, if an encoder can compute one. own_heat: id of the set's encoder, if it can. approximate:
    whether features are cut from maps of the photos. dataset, mined: names of the dataset and of the correspondence
    set. encoder: label of the set's encoder. settings: description of those on screen. changed: their differences from
    the set's.
    """

    urls: PictureUrls
    heat: Heat | None
    own_heat: int | None
    approximate: bool
    can_judge: bool
    dataset: str
    mined: str
    encoder: str
    settings: str
    changed: list[str]


def payload(looked: Looked, around: Around) -> PairPayload:
    """Return the data of the view."""
    urls, roi, following = around.urls, looked.roi, looked.following
    found = next(neighbor for neighbor in looked.neighbors if neighbor.rank == looked.rank)
    return {
        "query": _photo(looked.query, urls),
        "neighbor": NeighborPhoto(**_photo(looked.neighbor, urls), rank=looked.rank, similarity=found.similarity),
        "neighbors": [_thumb(neighbor, urls) for neighbor in looked.neighbors],
        "pairs": [_pair(pair) for pair in looked.pairs],
        "selected": {"q": looked.selected.q, "k": looked.selected.k} if looked.selected else None,
        "outside": _outside(looked, looked.outside) if looked.outside else None,
        "roi": str(roi) if roi else None,
        "matches": _matches(looked),
        "explained": _explained(looked),
        "reasons": _reasons(looked, around),
        "matrix": packed(looked.similar),
        "attention": _attention(looked, around.heat, urls) if around.heat else None,
        "place": {"data": around.dataset, "set": around.mined, "q": str(looked.query.photo.id)},
        "caption": _caption(looked, found, around),
        "crop_url": urls.any_crop,
        "can_judge": around.can_judge,
        "prefetch": [urls.photo(following.id, following.mtime_ns)] if following else [],
    }


def packed(similar: np.ndarray) -> Matrix:
    """Pack a matrix of cosines, float32 [B_q, B_k], with two bytes each."""
    whole = np.round(similar.clip(-1, 1) * PACKED).astype("<i2")
    return {"rows": len(similar), "columns": similar.shape[1], "values": base64.b64encode(whole.tobytes()).decode()}


def _photo(seen: Seen, urls: PictureUrls) -> component.ShownPhoto:
    return component.ShownPhoto(
        **picture(seen.photo, urls),
        boxes=[list(box) for box in seen.boxes],
        rejected=[_rejected(box) for box in seen.rejected],
    )


def _rejected(found: Rejected) -> RejectedBox:
    return {
        "raw": found.raw,
        "box": list(found.box),
        "rule": found.rule,
        "why": found.why,
        "blocker": found.blocker,
    }


def _thumb(neighbor: RankedNeighbor, urls: PictureUrls) -> NeighborThumb:
    photo = neighbor.photo
    return {
        "rank": neighbor.rank,
        "id": photo.id,
        "name": PurePosixPath(photo.path).name,
        "thumb": urls.photo(photo.id, photo.mtime_ns, WIDTHS[0]),
        "similarity": neighbor.similarity,
        "pairs": neighbor.pairs,
    }


def _pair(pair: RankedPair) -> ShownPair:
    return {"rank": pair.rank, "q": pair.q, "k": pair.k, "similarity": pair.similarity, "verdict": pair.verdict}


def _outside(looked: Looked, pair: RankedPair) -> OutsidePair:
    limit, (rows, columns) = looked.limit, looked.similar.shape
    note = f"Not in the set: rank {pair.rank:,} of {rows} × {columns}"
    if looked.refused:
        note += f"; {looked.refused}"
    else:
        note += f"; the first {limit} are kept" if limit > 1 else "; only the first is kept"
    return {"q": pair.q, "k": pair.k, "similarity": pair.similarity, "verdict": pair.verdict, "note": note}


def _matches(looked: Looked) -> BestMatchList | None:
    if looked.roi is None or looked.matches is None:
        return None
    return {"side": looked.roi.side, "index": looked.roi.index, "items": [_match(found) for found in looked.matches]}


def _match(found: RoiMatch) -> BestMatchItem:
    return {
        "rank": found.rank,
        "id": found.photo_id,
        "index": found.index,
        "box": list(found.box) if found.box else None,
        "similarity": found.similarity,
    }


def _explained(looked: Looked) -> Explained | None:
    if looked.roi is None or not looked.explained:
        return None
    return {"side": looked.roi.side, "raw": looked.roi.index, "text": looked.explained}


def _reasons(looked: Looked, around: Around) -> PairReasons | None:
    if looked.selected is None:
        return None
    q, k = looked.selected
    facts: list[PairFact] = [{"name": f.name, "value": f.value, "meaning": f.meaning} for f in looked.facts]
    cells: list[Answering] = []
    if around.own_heat is not None:
        query, key = (looked.query, looked.query.boxes[q]), (looked.neighbor, looked.neighbor.boxes[k])
        urls, encoder = around.urls, around.own_heat
        cells = [
            _answering("neighbour: cosine to the query RoI", encoder, key, query, urls),
            _answering("query: cosine to the neighbour RoI", encoder, query, key, urls),
        ]
    return {"q": q, "k": k, "facts": facts, "cells": cells}


def _answering(
    title: str, encoder: int, here: tuple[Seen, PlainBox], there: tuple[Seen, PlainBox], urls: PictureUrls
) -> Answering:
    (seen, box), (other, roi) = here, there
    return {
        "title": title,
        "photo": urls.photo(seen.photo.id, seen.photo.mtime_ns, WIDTHS[0]),
        "heat": urls.attention(encoder, seen.photo.id, (other.photo.id, roi), own=True),
        "width": seen.photo.width,
        "height": seen.photo.height,
        "box": [float(value) for value in box],
    }


def _attention(looked: Looked, heat: Heat, urls: PictureUrls) -> PairHeat:
    query, roi, name = looked.query, None, "activation norm"
    if heat.cosine:
        index = looked.selected.q if looked.selected else 0
        roi = (query.photo.id, query.boxes[index])
        name = f"cosine to query RoI {index + 1}"
    return {
        "query": urls.attention(heat.encoder_id, query.photo.id, roi),
        "neighbor": urls.attention(heat.encoder_id, looked.neighbor.photo.id, roi),
        "label": f"{name} · {heat.encoder}",
        "low": "0" if roi else "low",
        "high": "1" if roi else "high",
        "colors": INFERNO,
    }


def _caption(looked: Looked, neighbor: RankedNeighbor, around: Around) -> list[str]:
    """Return the caption of a saved figure."""
    differs = f", changed: {', '.join(around.changed)}" if around.changed else ""
    way = ", approximate regions" if around.approximate else ""
    outside = "" if looked.held else " (not in the set)"
    count = sum(each.rank > 0 for each in looked.neighbors)
    other = f"neighbour {looked.rank} of {count}" if looked.rank else "beside it, not as a neighbour"
    return [
        f"Correspondence set {around.mined}{differs}. {around.settings}.",
        f"Query {looked.query.photo.path}{outside}; {other}, {neighbor.photo.path}, cosine {neighbor.similarity:.3f}.",
        f"Encoder {around.encoder}{way}.",
    ]
