"""Routes that serve a map to the browser: positions, and a column for each colouring. They take ids.

A column consists of the length of a JSON header (uint32), the header, spaces up to a multiple of four bytes, and a
flat array of the header's ``dtype``, little-endian.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.server.base_path import under
from orl_explorer.app.server.numbers import numeral
from orl_explorer.app.server.pictures import MissingPicture, answer
from orl_explorer.app.server.urls import PREFIX
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.gallery import points as store_points
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import dataset_by_id, image_by_id
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.db.store import StoreError
from orl_explorer.orl.boxes import iou
from orl_explorer.orl.tsne import clusters
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.maps import Map, MapOf, find_map
from orl_explorer.train.workspace import Workspace

CLUSTERS = range(2, 9)  # k: Okabe and Ito's palette has eight colours
NOTHING = "none"  # label of a point without a category or tag
AN_OBJECT = 0.5  # minimum IoU of a RoI with an annotated object
REVALIDATED = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}


def column_url(shown: MapOf, colours: CorrespondenceSet | None) -> str:
    """Return the template of the URLs of a map's columns. colours: the set whose pairs colour the photos."""
    if shown.mined is not None:
        return under(f"{PREFIX}/map/rois/{shown.mined.id}/{shown.selection or 0}/{{column}}")
    set_id = colours.id if colours else 0
    return under(f"{PREFIX}/map/photos/{shown.dataset.id}/{shown.encoder.id}/{set_id}/{{column}}")


def about_url() -> str:
    """Return the template of the URL of a photo's name, for tooltips."""
    return under(f"{PREFIX}/about/{{image}}")


async def photos_column(request: Request) -> Response:
    """Answer with a column of a map of photos."""
    given, k = request.path_params, request.query_params.get("k", "")
    asked = given["dataset"], given["encoder"], given["set"], given["column"]
    return await answer(request, lambda: _photos_column(workspace(), *asked, k), BINARY, REVALIDATED)


async def rois_column(request: Request) -> Response:
    """Answer with a column of a map of RoIs."""
    given, k = request.path_params, request.query_params.get("k", "")
    asked = given["set"], given["selection"], given["column"]
    return await answer(request, lambda: _rois_column(workspace(), *asked, k), BINARY, REVALIDATED)


def about(request: Request) -> Response:
    """Answer with the name of a photo."""
    image_id = request.path_params["image"]
    found = image_by_id(workspace().store, image_id)
    if found is None:
        return PlainTextResponse(f"There is no photo {image_id}.", 404)
    return JSONResponse({"name": found[0].path})


BINARY = "application/octet-stream"
POINT_ROUTES = [
    Route(f"{PREFIX}/map/photos/{numeral('dataset')}/{numeral('encoder')}/{numeral('set')}/{{column}}", photos_column),
    Route(f"{PREFIX}/map/rois/{numeral('set')}/{numeral('selection')}/{{column}}", rois_column),
    Route(f"{PREFIX}/about/{numeral('image')}", about),
]


def shown_photos(opened: Workspace, dataset_id: int, encoder_id: int, mined: CorrespondenceSet | None) -> MapOf:
    """Return the map of a dataset's photos by an encoder, with the precision of the set if that has the same encoder.

    Raises MissingPicture.
    """
    try:
        encoder = encoder_by_id(opened.store, encoder_id)
        dataset = dataset_by_id(opened.store, dataset_id)
    except StoreError as problem:
        raise MissingPicture(str(problem)) from problem
    own = mined is not None and mined.encoder_id == encoder_id
    precision = MineConfig.of(mined).precision if own and mined is not None else "fp32"
    return MapOf(dataset, encoder, precision)


def shown_rois(opened: Workspace, mined: CorrespondenceSet, selection: int | None) -> MapOf:
    """Return the map of RoIs of a set. Raises MissingPicture."""
    whole = shown_photos(opened, mined.dataset_id, mined.encoder_id, mined)
    return MapOf(whole.dataset, whole.encoder, whole.precision, mined, selection)


def _photos_column(opened: Workspace, dataset_id: int, encoder_id: int, set_id: int, column: str, k: str) -> bytes:
    mined = set_by_id(opened.store, set_id) if set_id else None
    if set_id and mined is None:
        raise MissingPicture(f"There is no correspondence set {set_id}.")
    shown = shown_photos(opened, dataset_id, encoder_id, mined)
    made = _made(opened, shown)
    ids = made.points.images
    match column:
        case "category":
            largest = _largest_objects(opened, dataset_id, shown.dataset.revision)
            return _labels([largest.get(i, NOTHING) for i in ids.tolist()])
        case "tag":
            tags = store_points.first_tags(opened.store, dataset_id)
            return _labels([tags.get(i, NOTHING) for i in ids.tolist()])
        case "pairs" | "similarity" if mined is not None:
            return _numbers(_of(ids, *store_points.pair_numbers(opened.store, set_id))[:, int(column == "similarity")])
        case _:
            return _any_column(made, column, k)


def _rois_column(opened: Workspace, set_id: int, selection: int, column: str, k: str) -> bytes:
    mined = set_by_id(opened.store, set_id)
    if mined is None:
        raise MissingPicture(f"There is no correspondence set {set_id}.")
    made = _made(opened, shown_rois(opened, mined, selection or None))
    points = made.points
    assert points.rois is not None and points.boxes is not None
    match column:
        case "boxes":
            return packed_numbers({"dtype": "int16"}, points.boxes.astype("<i2"))
        case "category":
            return _labels(_objects(opened, points.images, points.boxes))
        case "pairs" | "similarity":
            images = np.unique(points.images).tolist()
            numbers = store_points.roi_pair_numbers(opened.store, set_id, images)
            return _numbers(_of(points.rois, *numbers)[:, int(column == "similarity")])
        case _:
            return _any_column(made, column, k)


def _any_column(made: Map, column: str, k: str) -> bytes:
    match column:
        case "places":
            return packed_numbers({"dtype": "float32"}, made.places.astype("<f4"))
        case "images":
            return packed_numbers({"dtype": "int32"}, made.points.images.astype("<i4"))
        case "cluster":
            if not (k.isdecimal() and len(k) < 3 and int(k) in CLUSTERS):
                raise MissingPicture(f"Invalid number of clusters. Use {CLUSTERS[0]} to {CLUSTERS[-1]}.")
            found = clusters(made.components.astype(np.float32), int(k))
            return _labels([f"cluster {c + 1}" for c in found.tolist()])
    raise MissingPicture(f"There is no column '{column[:40]}'.")


def _made(opened: Workspace, shown: MapOf) -> Map:
    try:
        made = find_map(opened, shown)
    except UserError as problem:  # the stored features cannot be used
        raise MissingPicture(str(problem)) from problem
    if made is None:
        raise MissingPicture("This map does not exist yet.")
    return made


@lru_cache(maxsize=4)
def _largest_objects(opened: Workspace, dataset_id: int, revision: int) -> Mapping[int, str]:
    return store_points.largest_objects(opened.store, dataset_id)


def _objects(opened: Workspace, images: np.ndarray, boxes: np.ndarray) -> list[str]:
    """Return for each RoI the category of the annotated object with the largest IoU, if that is at least 0.5."""
    objects = annotated_objects(opened.store, np.unique(images).tolist())
    labels = [NOTHING] * len(images)
    starts = np.searchsorted(objects.image_ids, images, "left")
    stops = np.searchsorted(objects.image_ids, images, "right")
    for at, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        if start == stop:
            continue
        overlap = iou(boxes[at], objects.boxes[start:stop])
        if overlap.max() >= AN_OBJECT:
            labels[at] = objects.categories[start + int(overlap.argmax())]
    return labels


def _of(ids: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return rows of ``values``, [m, c], for each id, float32 [n, c]; NaN for unknown ids. known: ascending."""
    found = np.full((len(ids), values.shape[1]), np.nan, np.float32)
    if len(known):
        at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        there = known[at] == ids
        found[there] = values[at[there]]
    return found


def _labels(labels: list[str]) -> bytes:
    """Pack a column of labels. The header lists them by frequency, "none" last."""
    counts = Counter(labels)
    order = sorted(counts, key=lambda label: (label == NOTHING, -counts[label], label))
    number = {label: n for n, label in enumerate(order)}
    header = {"dtype": "uint16", "labels": order, "counts": [counts[label] for label in order]}
    return packed_numbers(header, np.array([number[label] for label in labels], "<u2"))


def _numbers(values: np.ndarray) -> bytes:
    """Pack a column of numbers. The header has their range without the outermost 1 % at either end."""
    known = values[np.isfinite(values)]
    low, high = (float(np.quantile(known, q)) for q in (0.01, 0.99)) if len(known) else (0.0, 1.0)
    return packed_numbers(
        {"dtype": "float32", "low": low, "high": high, "without": int(len(values) - len(known))}, values
    )


def packed_numbers(header: dict[str, Any], values: np.ndarray) -> bytes:
    """Pack a header and an array into one body."""
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 4)
    return len(said).to_bytes(4, "little") + said + np.ascontiguousarray(values).tobytes()
