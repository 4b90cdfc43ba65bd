"""What a setting would find for one query photo: the batch's own functions, on what the batch has stored.

Only boxes that no set has used yet cost a forward pass; they are embedded on demand and remembered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

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
from train.errors import UserError
from train.mine import stored_features
from train.workspace import Workspace

REMEMBERED = 20_000  # features embedded on demand, about 100 MB at 1280 floats


@dataclass(frozen=True)
class Side:
    """A photo and what the filter makes of its raw boxes."""

    image: Image
    raw: np.ndarray  # int16 [M, 4]
    filtered: Filtered

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


def side(subject: Subject, image: Image, rules: BoxRules) -> Side:
    """A photo's candidates under some thresholds, and why each other raw box was rejected."""
    method = MineConfig(**subject.mined.params).method
    raw = mining.proposals_of(subject.workspace.store, [image.id], method)[image.id]
    return Side(image, raw, filter_boxes(raw, rules, image.width, image.height))


def missing_boxes(subject: Subject, sides: list[Side]) -> int:
    """How many candidates would have to be embedded before these photos can be matched."""
    return sum(len(_split(subject, s)[1]) for s in sides)


def unstored_boxes(subject: Subject, found: Side) -> int:
    """How many of a photo's candidates a run would have to embed: those remembered here are not on disk."""
    return len(found.boxes) - len(_stored(subject, found))


def match(subject: Subject, query: Side, key: Side, config: MineConfig) -> Pairs:
    """The most similar pairs of two photos' candidates, embedding what has never been embedded."""
    return top_pairs(_features(subject, query), _features(subject, key), config.pair_ratio, config.min_similarity)


def pair_total(subject: Subject, query: Side, key: Side, config: MineConfig) -> int | None:
    """Number of pairs with a neighbour, or None where only a forward pass could tell."""
    if config.min_similarity <= -1:
        return min(pair_count(config.pair_ratio, len(query.boxes)), len(query.boxes) * len(key.boxes))
    if missing_boxes(subject, [query, key]):
        return None
    return len(match(subject, query, key, config))


def explain(found: Side) -> list[RejectedBox]:
    """Rejected raw boxes, largest first, each with its rule and by how much it failed."""
    filtered, raw = found.filtered, found.raw
    rejected = np.flatnonzero(filtered.verdict != Verdict.KEPT)
    area = raw[rejected, 2].astype(int) * raw[rejected, 3]
    out: list[RejectedBox] = []
    for i in rejected[np.argsort(-area, kind="stable")]:
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

_on_demand: OrderedDict[tuple, np.ndarray] = OrderedDict()
_forward = threading.Lock()  # one forward pass at a time, and one writer of what is remembered


def _stored(subject: Subject, found: Side) -> dict[tuple[int, ...], np.ndarray]:
    """Features on disk of a photo's candidates, by box."""
    known = rows.known_rois(subject.workspace.store, [found.image.id]).get(found.image.id)
    if known is None:
        return {}
    _, stored = stored_features(subject.workspace, subject.encoder)
    wanted = set(_boxes(found))
    use = np.array([tuple(box) in wanted for box in known.boxes.tolist()]) & stored.have(known.ids)
    return {tuple(b): v for b, v in zip(known.boxes[use].tolist(), stored.get(known.ids[use]), strict=True)}


def _split(subject: Subject, found: Side) -> tuple[dict[tuple[int, ...], np.ndarray], list[tuple[int, ...]]]:
    """Of a photo's candidates: features by box, and the boxes that have none yet."""
    have = _stored(subject, found)
    for box in _boxes(found):
        if box not in have and (vector := _on_demand.get((subject.encoder.id, found.image.id, box))) is not None:
            have[box] = vector
    return have, [b for b in _boxes(found) if b not in have]


def _boxes(found: Side) -> list[tuple[int, ...]]:
    return [tuple(box) for box in found.boxes.tolist()]


def _features(subject: Subject, found: Side) -> np.ndarray:
    have, missing = _split(subject, found)
    if missing:
        from orl.pixels import crop_box, read_image

        with _forward:
            photo = read_image(Path(subject.dataset.root) / found.image.path)
            network = encoder(subject.workspace, subject.encoder.id)
            for start in range(0, len(missing), 32):
                part = missing[start : start + 32]
                vectors = network.embed_rois(np.stack([crop_box(photo, np.array(box), 224) for box in part]))
                for box, vector in zip(part, vectors, strict=True):
                    have[box] = _on_demand[subject.encoder.id, found.image.id, box] = vector
            while len(_on_demand) > REMEMBERED:
                _on_demand.popitem(last=False)
    return np.stack([have[box] for box in _boxes(found)])


@lru_cache(maxsize=2)
def encoder(workspace: Workspace, encoder_id: int):  # type: ignore[no-untyped-def]  # torch stays out until now
    """The network of an encoder, loaded once."""
    from train.weights import load

    row = encoder_by_id(workspace.store, encoder_id)
    if row is None:
        raise UserError(f"There is no encoder {encoder_id}.")
    return load(workspace, row)


@lru_cache(maxsize=4)
def _set_features(workspace: Workspace, set_id: int, encoder_id: int) -> tuple[np.ndarray, np.ndarray]:
    row = encoder_by_id(workspace.store, encoder_id)
    assert row is not None
    ids = np.array(sorted(mining.matched_images(workspace.store, set_id)), np.int64)
    images, _ = stored_features(workspace, row)
    return ids, images.get(ids)
