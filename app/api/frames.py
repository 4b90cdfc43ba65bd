"""Datasets and correspondence sets as DataFrames and arrays. Path columns are categorical, to save memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Image
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.photos import dataset_by_id, digests_of
from orl_explorer.db.sets.read import SetRois, set_images, set_rois
from orl_explorer.db.sets.whole import annotated_objects, set_neighbors, whole_set
from orl_explorer.train.encoders.precision import refuse_precision
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.duplicates import COLUMNS, duplicate_rows, find_duplicates, stored_features
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.search import Filters, hit_row, search_file
from orl_explorer.train.photos import Photos, known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Precision
from orl_explorer.train.workspace import Workspace

BOX = ("x", "y", "w", "h")


class _Paths:
    """Paths of photos by image id."""

    def __init__(self, images: list[Image]) -> None:
        images = sorted(images, key=lambda image: image.id)
        self._ids = np.array([image.id for image in images], np.int64)
        self._kind = pd.CategoricalDtype(list(dict.fromkeys(image.path for image in images)))
        self._codes = pd.Categorical([image.path for image in images], dtype=self._kind).codes

    def of(self, image_ids: np.ndarray) -> pd.Categorical:
        return pd.Categorical.from_codes(self._codes[np.searchsorted(self._ids, image_ids)], dtype=self._kind)


def photos_frame(workspace: Workspace, dataset: Dataset) -> pd.DataFrame:
    """Return the readable photos of a dataset, in the order of ids."""
    images = known_photos(workspace, dataset, Progress())
    photos = Photos.of(workspace.store, dataset.id)
    rows = [(image.id, image.path, str(photos.path(image)), image.width, image.height) for image in images]
    return pd.DataFrame(rows, columns=["id", "path", "file", "width", "height"])


def annotations_frame(workspace: Workspace, dataset: Dataset) -> pd.DataFrame:
    """Return the annotated objects of a dataset's readable photos."""
    images = known_photos(workspace, dataset, Progress())
    found = annotated_objects(workspace.store, [image.id for image in images])
    columns = {"image_id": found.image_ids, "path": _Paths(images).of(found.image_ids), "category": found.categories}
    columns |= dict(zip(BOX, found.boxes.T, strict=True))
    return pd.DataFrame(columns | {"difficult": found.difficult})


def image_features(
    workspace: Workspace, encoder: Encoder, dataset: Dataset, precision: Precision, progress: Progress
) -> np.ndarray:
    """Return float32 [photos, D], unit rows, in the order of ``photos_frame``. Missing features are computed.

    Raises UserError if photos can no longer be read. The next call leaves them out.
    """
    from orl_explorer.train.mining.embed import embed_images
    from orl_explorer.train.training.distributed import choose_device

    refuse_precision(encoder, precision)
    images = known_photos(workspace, dataset, progress)
    features = Features(workspace, encoder, str(choose_device()), precision)
    if features.images.missing(photo_keys(images)):
        found = embed_images(features, images, Photos.of(workspace.store, dataset.id), progress)
        if len(found) < len(images):
            lost = min({image.path for image in images} - {image.path for image in found})
            raise UserError(
                f"{len(images) - len(found)} photos of '{dataset.name}' can no longer be read, such as {lost}, and are "
                "left out from now on. Read the photos and their features again."
            )
    return features.images.get(photo_keys(images))


def search_frame(
    workspace: Workspace,
    mined: CorrespondenceSet,
    photo: Path,
    box: Sequence[int] | None,
    top: int,
    filters: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the RoIs of a set that are most similar to a box of a photo, best first."""
    unknown = [name for name in filters if name not in ("least", "category", "once")]
    if unknown:
        raise UserError(f"There is no filter '{unknown[0]}' of a search. Use least, category or once.")
    found, _ = search_file(workspace, mined, photo.expanduser(), box, Filters(**filters))
    columns = ["image_id", "path", "roi_id", *BOX, "similarity", "category"]
    return pd.DataFrame([hit_row(hit) for hit in found[:top]], columns=columns)


def duplicates_frame(
    workspace: Workspace, dataset: Dataset, encoder: Encoder, threshold: float, progress: Progress
) -> pd.DataFrame:
    """Return the photos of all groups of near-duplicates. Missing features are computed. Raises UserError."""
    if not 0 < threshold <= 1:
        raise UserError(f"Invalid value for threshold: {threshold:g}. Use more than 0 and at most 1.")
    out = kept_out(workspace.store, dataset.id).tolist()
    if stored_features(workspace, encoder, known_photos(workspace, dataset, progress), out) is None:
        image_features(workspace, encoder, dataset, "fp32", progress)
    rows = duplicate_rows(find_duplicates(workspace, dataset, encoder, threshold))
    return pd.DataFrame(rows, columns=[*COLUMNS])


def rois_frame(workspace: Workspace, mined: CorrespondenceSet) -> pd.DataFrame:
    """Return the RoIs of a set, by photo and rank."""
    rois = set_rois(workspace.store, mined.id)
    owners = _owners(rois)
    paths = _Paths(list(set_images(workspace.store, mined.id)))
    columns = {"roi_id": rois.ids, "image_id": owners, "path": paths.of(owners), "rank": _places(rois)}
    columns |= dict(zip(BOX, rois.boxes.T, strict=True))
    if MineConfig.of(mined).needs_objectness:
        columns["objectness"] = rois.objectness
    return pd.DataFrame(columns)


def roi_features(workspace: Workspace, mined: CorrespondenceSet) -> np.ndarray:
    """Return float32 [RoIs, C], unit rows, in the order of ``rois_frame``. Raises UserError if they were deleted."""
    rois = set_rois(workspace.store, mined.id)
    encoder = encoder_by_id(workspace.store, mined.encoder_id)
    known_photos(
        workspace, dataset_by_id(workspace.store, mined.dataset_id), Progress()
    )  # older rows have no digest yet
    stored = Features(workspace, encoder, precision=MineConfig.of(mined).precision).rois
    return stored.get(roi_keys(digests_of(workspace.store, _owners(rois)), rois.boxes))


def neighbors_frame(workspace: Workspace, mined: CorrespondenceSet) -> pd.DataFrame:
    """Return the neighbours of each photo of a set, nearest first."""
    neighbors, nearness = set_neighbors(workspace.store, mined.id)
    query, key = neighbors.T
    paths = _Paths(list(set_images(workspace.store, mined.id)))
    rank = pd.Series(query).groupby(query).cumcount().to_numpy(np.int16) + np.int16(1)
    columns = {"query_id": query, "query_path": paths.of(query), "rank": rank}
    return pd.DataFrame(columns | {"key_id": key, "key_path": paths.of(key), "similarity": nearness})


def pairs_frame(workspace: Workspace, mined: CorrespondenceSet) -> pd.DataFrame:
    """Return the pairs of a set, by query photo, neighbour and rank."""
    rows = whole_set(workspace.store, mined.id)
    query, neighbor_rank, query_roi, key_roi = rows.pairs.T
    first = np.searchsorted(rows.neighbors[:, 0], query)  # of the query's neighbours, which are all K
    near = first + neighbor_rank - 1
    key = rows.neighbors[near, 1]
    paths = _Paths(list(set_images(workspace.store, mined.id)))
    group = pd.DataFrame({"query": query, "rank": neighbor_rank}).groupby(["query", "rank"], sort=False)
    columns = {
        "query_path": paths.of(query),
        "key_path": paths.of(key),
        "neighbor_rank": neighbor_rank.astype(np.int16),
        "neighbor_similarity": rows.nearness[near],
        "pair_rank": group.cumcount().to_numpy(np.int16) + np.int16(1),
    }
    ids, boxes = rows.rois[:, 1], rows.rois[:, 2:].astype(np.int16)
    places = {"query": _rows_of(ids, query_roi), "key": _rows_of(ids, key_roi)}
    for side, at in places.items():
        columns |= {f"{side}_{name}": boxes[at, number] for number, name in enumerate(BOX)}
    columns |= {"similarity": rows.similarity, "margin": rows.margin, "cycle": _flags(rows.cycle)}
    if MineConfig.of(mined).needs_objectness:
        objectness = set_rois(workspace.store, mined.id).objectness  # in the same order
        columns |= {f"{side}_objectness": objectness[at] for side, at in places.items()}
    return pd.DataFrame(columns | {"query_id": query, "key_id": key, "query_roi_id": query_roi, "key_roi_id": key_roi})


def _rows_of(ids: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Return the positions of some ids of RoIs among those of the set, which holds each of them once."""
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, some, sorter=order)]


def _flags(values: np.ndarray) -> pd.arrays.BooleanArray:
    """Return 1, 0 and NaN as true, false and missing."""
    return pd.arrays.BooleanArray(values == 1, np.isnan(values))


def _owners(rois: SetRois) -> np.ndarray:
    """Return the image id of each RoI."""
    return np.repeat(rois.images, np.diff(rois.start))


def _places(rois: SetRois) -> np.ndarray:
    """Return the rank of each RoI among those of its photo, from 1."""
    counts = np.diff(rois.start)
    return (np.arange(rois.start[-1]) - np.repeat(rois.start[:-1], counts) + 1).astype(np.int16)
