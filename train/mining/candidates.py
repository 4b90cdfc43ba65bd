"""Candidates of a photo and pairs of two photos. Mining, preview and sweep share these functions."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from orl_explorer.db.models import Image
from orl_explorer.db.proposals import proposals_of
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.db.store import Store
from orl_explorer.orl.boxes import GRID, Filtered, each_once, filter_boxes, iou, lines_of_cells, outward
from orl_explorer.orl.map_boxes import in_pixels
from orl_explorer.orl.matching import Pairs, cosines, largest
from orl_explorer.orl.objectness import CONTRAST, LAYOUT, filter_by_objectness, sparseness
from orl_explorer.orl.pixels import ATTENTION_CELLS
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.propose import Search
from orl_explorer.train.photos import Photos

WEIGHTS = {"contrast": CONTRAST, "layout": LAYOUT}
Merit = np.ndarray | None  # added to the similarity of each RoI's pairs, float32 [B]; None: nothing


class Traits(NamedTuple):
    """What the choice of pairs knows of a photo's RoIs, beside similarities.

    alike: bool [B, B], which RoIs overlap too much for two pairs of the same two photos; None if none do. cells: bool
    [B, n], the cells of the photo that each RoI covers; None if the settings do not use them.
    """

    merit: Merit
    alike: np.ndarray | None
    cells: np.ndarray | None


class Described(NamedTuple):
    """The RoIs of a photo as matching needs them. features: float32 [B, C], unit rows."""

    features: np.ndarray
    traits: Traits


@dataclass(frozen=True)
class Candidates:
    """The candidates of a photo.

    objectness: float32 [B], of the candidates; zeros if the settings do not use it.
    """

    image: Image
    filtered: Filtered
    objectness: np.ndarray


def raw_boxes(store: Store, images: Sequence[Image], config: MineConfig) -> dict[int, np.ndarray]:
    """Return stored raw boxes int16 [M, 4] by image id, in rank order, for the images that have them.

    Annotations are read each time, since they may be corrected; difficult objects and crowds are left out. Boxes of the
    encoder's map are not among them, see ``with_map``.
    """
    if config.proposals == "map":
        return {image.id: np.empty((0, 4), np.int16) for image in images}
    if config.proposals != "annotations":
        return proposals_of(store, [image.id for image in images], config.method)
    found = annotated_objects(store, sorted(image.id for image in images))
    ids, boxes = found.image_ids[~found.difficult], found.boxes[~found.difficult]
    return {image.id: outward(boxes[ids == image.id], image.width, image.height) for image in images}


def with_map(raw: np.ndarray, row: np.ndarray | None, image: Image) -> np.ndarray:
    """Return raw boxes int16 [M, 4] after those of the encoder's map, each once.

    row: of ``orl.encoder.EncoderNetwork.map_boxes``, None if the settings do not use the map.
    """
    if row is None:
        return raw
    return each_once(np.concatenate([in_pixels(row, image.width, image.height), raw]))


def image_seed(path: str) -> int:
    """Return the seed of an image's proposal ranking, a function of its path, so that workspaces agree."""
    return zlib.crc32(path.encode())


def searches(images: Sequence[Image], photos: Photos, config: MineConfig) -> Iterator[Search]:
    """Yield the jobs of selective search on photos for ``propose_all``."""
    for image in images:
        how = image_seed(image.path), config.proposal_scale, config.segment_size
        yield str(photos.path(image)), photos.stamp(image), *how


def candidates(
    image: Image,
    raw: np.ndarray,
    config: MineConfig,
    attention: np.ndarray | None,
    known: np.ndarray | None = None,
) -> Candidates:
    """Reduce raw boxes int16 [M, 4] to candidates. attention: float32 [9 · h · w], if the settings use it.

    known: see ``orl.objectness.filter_by_objectness``.
    """
    if attention is None:
        filtered = filter_boxes(raw, config.rules, image.width, image.height)
        return Candidates(image, filtered, np.zeros(len(filtered.boxes), np.float32))
    where = attention.reshape(-1, ATTENTION_CELLS, ATTENTION_CELLS)
    ranked = config.ranked_by == "objectness"
    found = filter_by_objectness(
        raw, config.rules, image.width, image.height, where, ranked, known, WEIGHTS[config.scored_by]
    )
    return Candidates(image, *found)


def describe(
    features: np.ndarray, boxes: np.ndarray, size: tuple[int, int], objectness: np.ndarray, config: MineConfig
) -> Described:
    """Prepare RoIs for ``match``. features: float32 [B, C], unit rows; for the others see ``traits``."""
    return Described(features, traits(boxes, size, objectness, lambda: sparseness(features), config))


def traits(
    boxes: np.ndarray,
    size: tuple[int, int],
    objectness: np.ndarray,
    sparse: Callable[[], np.ndarray],
    config: MineConfig,
) -> Traits:
    """Return the traits of RoIs.

    boxes: [B, 4], of a photo of size width and height. objectness: float32 [B]. sparse: see ``merit``.
    """
    alike = iou(boxes[:, None], boxes[None]) > config.distinct_iou if config.distinct_iou < 1 else None
    cells = None
    if config.cover_photo:
        down, across = lines_of_cells(boxes, *size)
        cells = (down[:, :, None] & across[:, None]).reshape(len(boxes), GRID**2)
    return Traits(merit(objectness, sparse, config), alike, cells)


def match(query: Described, key: Described, config: MineConfig, *, nearest: bool) -> Pairs:
    """Return the pairs of two photos. nearest: whether the second is the nearest neighbour of the first."""
    return choose_pairs(cosines(query.features, key.features), query.traits, key.traits, config, nearest=nearest)


def choose_pairs(matrix: np.ndarray, query: Traits, key: Traits, config: MineConfig, *, nearest: bool) -> Pairs:
    """Return the pairs of two photos from their cosines, float32 [B_q, B_k], and the traits of their RoIs.

    nearest: see ``match``.
    """
    alike = None if query.alike is None or key.alike is None else (query.alike, key.alike)
    return largest(
        matrix,
        config.pair_ratio,
        config.min_similarity,
        bonus(query.merit, key.merit),
        min_worth=config.least_worth,
        consistent_only=config.consistent_only,
        alike=alike,
        cells=query.cells if nearest else None,
    )


def bonus(query: Merit, key: Merit) -> np.ndarray | None:
    """Return the term added to the similarities to choose pairs, float32 [B_q, B_k]; None: nothing."""
    return None if query is None or key is None else query[:, None] + key


def worth(similar: np.ndarray, query: Traits, key: Traits) -> np.ndarray:
    """Return what pairs are worth, by which they are chosen, float32 [B_q, B_k]. similar: their cosines."""
    added = bonus(query.merit, key.merit)
    return similar if added is None else similar + added


def merit(objectness: np.ndarray, sparse: Callable[[], np.ndarray], config: MineConfig) -> Merit:
    """Return the merit of each RoI. objectness: float32 [B]. sparse: computes the sparseness if it has a weight."""
    if not config.object_weight and not config.sparse_weight:
        return None
    found = config.object_weight * objectness
    return found + config.sparse_weight * sparse() if config.sparse_weight else found
