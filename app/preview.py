"""What a setting would find for one query photo: the batch's own functions, on what the batch has stored.

Only boxes that no set has used yet cost a forward pass; they are embedded on demand and remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.components.pair_view import RejectedBox, Rule
from db import correspondences as rows
from db import mining
from db.correspondences import NeighborImage
from db.encoders import encoder_by_id
from db.models import CorrespondenceSet, Dataset, Encoder, Image
from orl.boxes import BoxRules, Filtered, Verdict, filter_boxes
from orl.matching import Pairs, nearest_to, pair_count, top_pairs
from train.config import MineConfig
from train.embeddings import Embeddings
from train.errors import UserError
from train.mine import stored_features
from train.workspace import Workspace

if TYPE_CHECKING:  # torch stays out until a box has to be embedded
    from orl.encoder import Encoder as Network

FORWARD = 8  # crops per forward
REMEMBERED = 20_000  # features embedded on demand, about 100 MB at 1280 floats


@dataclass(frozen=True)
class Side:
    """A photo and what the filter makes of its raw boxes."""

    image: Image
    raw: np.ndarray  # int16 [M, 4]
    filtered: Filtered
    roi_ids: np.ndarray  # int64 [B], of each candidate; 0 where no set has used the box yet

    @property
    def boxes(self) -> np.ndarray:
        """Candidates int16 [B, 4], x y w h, in rank order."""
        return self.filtered.boxes


@dataclass(frozen=True)
class Subject:
    """What a preview works on."""

    workspace: Workspace
    mined: CorrespondenceSet
    dataset: Dataset
    encoder: Encoder


def neighbors(subject: Subject, image: Image, k: int) -> list[NeighborImage]:
    """The K nearest photos: the set's own rows while they suffice, else from the stored features."""
    store = subject.workspace.store
    stored = rows.neighbors_of(store, subject.mined.id, image.id)
    if k <= len(stored):
        return stored[:k]
    ids, features = _set_features(subject.workspace, subject.mined.id, subject.encoder.id)
    found = nearest_to(features, ids, image.id, k)
    images = rows.images_by_id(store, [int(i) for i in found.ids])
    return [
        NeighborImage(rank, images[int(i)], float(s))
        for rank, (i, s) in enumerate(zip(found.ids, found.similarity, strict=True), 1)
    ]


def sides(subject: Subject, images: list[Image], rules: BoxRules) -> list[Side]:
    """The candidates of some photos under some thresholds, and why each other raw box was rejected."""
    store, ids = subject.workspace.store, [image.id for image in images]
    raw = mining.proposals_of(store, ids, MineConfig(**subject.mined.params).method)
    known = rows.known_rois(store, ids)
    found = []
    for image in images:
        filtered = filter_boxes(raw[image.id], rules, image.width, image.height)
        rois = known.get(image.id)
        id_of = dict(zip(_keys(rois.boxes), rois.ids.tolist(), strict=True)) if rois else {}
        roi_ids = np.array([id_of.get(key, 0) for key in _keys(filtered.boxes)], np.int64)
        found.append(Side(image, raw[image.id], filtered, roi_ids))
    return found


def missing_boxes(subject: Subject, *photos: Side) -> int:
    """How many candidates would have to be embedded before these photos can be matched."""
    return sum(len(_features_at_hand(subject, side)[1]) for side in photos)


def unstored_boxes(subject: Subject, side: Side) -> int:
    """How many of a photo's candidates a run would have to embed: those remembered here are not on disk."""
    return int((~_stored(subject).have(side.roi_ids)).sum())


def match(query: np.ndarray, key: np.ndarray, config: MineConfig) -> Pairs:
    """The most similar pairs of two photos, by their features float32 [B, C]."""
    return top_pairs(query, key, config.pair_ratio, config.min_similarity)


def pair_total(subject: Subject, query: np.ndarray, key: Side, config: MineConfig) -> int | None:
    """Number of pairs of the query, by its features, with a neighbour; None where only a forward pass could tell."""
    if config.min_similarity <= -1:
        return min(pair_count(config.pair_ratio, len(query)), len(query) * len(key.boxes))
    if missing_boxes(subject, key):
        return None
    return len(match(query, features(subject, key), config))


def explain(side: Side, most: int | None = None) -> list[RejectedBox]:
    """Rejected raw boxes, largest first and at most so many, each with its rule and by how much it failed."""
    filtered, raw = side.filtered, side.raw
    rejected = np.flatnonzero(filtered.verdict != Verdict.KEPT)
    area = raw[rejected, 2].astype(int) * raw[rejected, 3]
    out: list[RejectedBox] = []
    for i in rejected[np.argsort(-area, kind="stable")][:most]:
        _, _, w, h = (int(v) for v in raw[i])
        rule: Rule
        match Verdict(int(filtered.verdict[i])):
            case Verdict.SIZE:
                rule, why = "size", f"{w} × {h} px: a side is smaller than the least allowed"
            case Verdict.ASPECT:
                rule, why = "aspect", f"{w} × {h} px: sides {max(w, h) / min(w, h):.1f} to 1"
            case Verdict.OVERLAP:
                rule, why = "overlap", f"{w} × {h} px: IoU {filtered.overlap[i]:.2f} with a box kept before it"
            case _:
                rule, why = "count", f"{w} × {h} px: the photo had its full number of RoIs already"
        out.append({"box": [int(v) for v in raw[i]], "rule": rule, "why": why})
    return out


# Features ----------------------------------------------------------------------------------------------

_on_demand: OrderedDict[tuple[int, ...], np.ndarray] = OrderedDict()  # by encoder, image, x, y, w and h
_forward = threading.Lock()  # one forward pass at a time, and one writer of what is remembered


def features(subject: Subject, side: Side) -> np.ndarray:
    """Features of a photo's candidates, float32 [B, C], embedding what has never been embedded."""
    found, missing = _features_at_hand(subject, side)
    if len(missing):
        from orl.pixels import crop_box, read_image

        with _forward:
            photo = read_image(Path(subject.dataset.root) / side.image.path)
            network = encoder(subject.workspace, subject.encoder.id)
            for part in np.split(missing, range(FORWARD, len(missing), FORWARD)):
                found[part] = network.embed_rois(np.stack([crop_box(photo, box) for box in side.boxes[part]]))
            keys = _keys(side.boxes)
            for i in missing.tolist():
                _on_demand[subject.encoder.id, side.image.id, *keys[i]] = found[i].copy()
            while len(_on_demand) > REMEMBERED:
                _on_demand.popitem(last=False)
    return found


def _features_at_hand(subject: Subject, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Features of a photo's candidates, float32 [B, C], and the indices of those that have none yet."""
    stored = _stored(subject)
    found = np.zeros((len(side.boxes), stored.width), np.float32)
    there = stored.have(side.roi_ids)
    found[there] = stored.get(side.roi_ids[there])
    keys = _keys(side.boxes)
    for i in np.flatnonzero(~there).tolist():
        vector = _on_demand.get((subject.encoder.id, side.image.id, *keys[i]))
        if vector is not None:
            found[i], there[i] = vector, True
    return found, np.flatnonzero(~there)


def _keys(boxes: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(box) for box in boxes.tolist()]


def _stored(subject: Subject) -> Embeddings:
    """RoI features on disk, with what runs have added by now."""
    found = _opened(subject.workspace, subject.encoder.id)[1]
    found.refresh()
    return found


@lru_cache(maxsize=8)
def _opened(workspace: Workspace, encoder_id: int) -> tuple[Embeddings, Embeddings]:
    row = encoder_by_id(workspace.store, encoder_id)
    assert row is not None  # a foreign key of the set
    return stored_features(workspace, row)


@lru_cache(maxsize=2)
def encoder(workspace: Workspace, encoder_id: int) -> Network:
    """The network of an encoder, loaded once."""
    from train.weights import load

    row = encoder_by_id(workspace.store, encoder_id)
    if row is None:
        raise UserError(f"There is no encoder {encoder_id}.")
    return load(workspace, row)


@lru_cache(maxsize=4)
def _set_features(workspace: Workspace, set_id: int, encoder_id: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array(sorted(mining.matched_images(workspace.store, set_id)), np.int64)
    images, _ = _opened(workspace, encoder_id)
    images.refresh()
    return ids, images.get(ids)
