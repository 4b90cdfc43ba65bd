"""Stage 2 in plain loops, one box and one crop at a time, and the comparison of a stored set with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.db.photos import dataset_by_id, usable_images
from orl_explorer.db.proposals import proposals_of
from orl_explorer.db.sets import read
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.pixels import center_crop, crop_box, read_image
from orl_explorer.train.encoders import weights
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace

ROUNDING = 2e-4  # of a cosine: batches and folded batch norms add up in another order
Box = tuple[int, ...]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes x y w h."""
    wide = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    high = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return wide * high / (a[2] * a[3] + b[2] * b[3] - wide * high)


def candidates(raw: list[Box], config: MineConfig) -> list[Box]:
    """Run a greedy pass over raw boxes in rank order. If no box is kept, return the first."""
    kept: list[Box] = []
    for box in raw:
        w, h = box[2:]
        if w < config.min_size or h < config.min_size or w > config.max_aspect * h or h > config.max_aspect * w:
            continue
        if any(iou(box, other) > config.max_iou for other in kept) or len(kept) == config.max_rois:
            continue
        kept.append(box)
    return kept or raw[:1]


def encoder() -> EncoderNetwork:
    """The published starter, without folded batch norms."""
    return weights.build(weights.starter_weights())


@dataclass(frozen=True)
class Photo:
    """A photo's feature [D], its candidates, and their features [B][C]."""

    feature: np.ndarray
    boxes: list[Box]
    rois: list[np.ndarray]


def embedded(embed: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Return the feature of one crop, in a batch of one."""
    return embed(pixels[None])[0]


def look_at(workspace: Workspace, set_id: int, config: MineConfig) -> dict[int, Photo]:
    """Return features and candidates of each photo, by image id."""
    found, network = read.set_by_id(workspace.store, set_id), encoder()
    assert found is not None
    root = Path(dataset_by_id(workspace.store, found.dataset_id).root)
    photos = {}
    for image in usable_images(workspace.store, found.dataset_id):
        picture = read_image(root / image.path)
        raw = proposals_of(workspace.store, [image.id], config.method)[image.id]
        boxes = candidates([tuple(box) for box in raw.tolist()], config)
        crops = [crop_box(picture, np.array(box), 224) for box in boxes]
        feature = embedded(network.embed_images, center_crop(picture))
        photos[image.id] = Photo(feature, boxes, [embedded(network.embed_rois, crop) for crop in crops])
    return photos


def assert_stored(workspace: Workspace, set_id: int, config: MineConfig) -> dict[int, Photo]:
    """Assert that the set holds exactly the method's neighbours, candidates and pairs. Return the expected ones.

    Where two cosines are equal but for rounding, either may come first.
    """
    photos = look_at(workspace, set_id, config)
    stored = read.rois_of(workspace.store, set_id, list(photos))
    assert {i: [tuple(box) for box in stored[i].boxes.tolist()] for i in stored} == {
        i: photo.boxes for i, photo in photos.items()
    }
    total = 0
    for query, photo in photos.items():
        cosine = {i: float(photo.feature @ other.feature) for i, other in photos.items() if i != query}
        near = read.neighbors_of(workspace.store, set_id, query)
        assert [n.rank for n in near] == list(range(1, config.neighbors + 1))
        assert len({n.image.id for n in near}) == config.neighbors
        best = sorted(cosine.values(), reverse=True)[: config.neighbors]
        np.testing.assert_allclose([n.similarity for n in near], best, atol=ROUNDING)
        np.testing.assert_allclose([n.similarity for n in near], [cosine[n.image.id] for n in near], atol=ROUNDING)
        pairs = read.pairs_of(workspace.store, set_id, query)
        total += len(pairs)
        for neighbor in near:
            here = [p for p in pairs if p.neighbor_rank == neighbor.rank]
            assert_pairs(here, photo, photos[neighbor.image.id], config)
    found = read.set_by_id(workspace.store, set_id)
    assert found is not None
    assert (found.image_count, found.pair_count) == (len(photos), total)
    return photos


def assert_pairs(here: list[read.StoredPair], query: Photo, key: Photo, config: MineConfig) -> None:
    """Assert that these are the pairs of two photos."""
    every = {
        (a, b): float(q @ k)
        for a, q in zip(query.boxes, query.rois, strict=True)
        for b, k in zip(key.boxes, key.rois, strict=True)
    }
    best = sorted(every.values(), reverse=True)[: max(1, int(config.pair_ratio * len(query.boxes)))]
    assert [p.rank for p in here] == list(range(1, len(best) + 1))
    assert len({(p.query_box, p.key_box) for p in here}) == len(here)
    np.testing.assert_allclose([p.similarity for p in here], best, atol=ROUNDING)
    for pair in here:
        assert pair.similarity == pytest.approx(every[pair.query_box, pair.key_box], abs=ROUNDING)
        rivals = [s for (a, b), s in every.items() if a == pair.query_box and b != pair.key_box]
        back = [s for (a, b), s in every.items() if a != pair.query_box and b == pair.key_box]
        if rivals:
            assert pair.margin == pytest.approx(pair.similarity - max(rivals), abs=2 * ROUNDING)
        else:
            assert pair.margin is None
        if not back or abs(pair.similarity - max(back)) > 2 * ROUNDING:
            assert pair.cycle == (not back or pair.similarity > max(back))
