"""Preview of settings on one query photo, by the functions of mining on its stored data.

Only new boxes need a forward pass. They are embedded on demand and kept in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from orl_explorer.app.explorer import rejections
from orl_explorer.app.explorer.raw_boxes import RawBoxes
from orl_explorer.app.explorer.rejections import Rejected
from orl_explorer.app.explorer.why import rank_of
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Image
from orl_explorer.db.photos import digests_of, photo_roots
from orl_explorer.db.sets import read, write
from orl_explorer.db.sets.read import NeighborImage
from orl_explorer.orl.boxes import BoxRules, Filtered
from orl_explorer.orl.matching import Pairs, nearest_to, pair_count
from orl_explorer.train.mining import candidates
from orl_explorer.train.mining.candidates import Described
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import (
    AttentionMaps,
    Boxes,
    BoxFeatures,
    Features,
    MapBoxes,
    PhotoFeatures,
    PooledFeatures,
)
from orl_explorer.train.photos import Photos
from orl_explorer.train.remembered import computed_once
from orl_explorer.train.settings import Precision
from orl_explorer.train.workspace import Workspace

# Id, kind, path of the weights, and name. A row of imported vectors becomes a network when its weights are added.
EncoderState = tuple[int, str, str, str]


@dataclass(frozen=True)
class FilteredPhoto:
    """A photo with its raw and its filtered boxes."""

    raw: np.ndarray  # int16 [M, 4]
    rules: BoxRules
    filtered: Filtered
    candidates: Boxes

    @property
    def image(self) -> Image:
        """The photo."""
        return self.candidates.image

    @property
    def boxes(self) -> np.ndarray:
        """Candidates int16 [B, 4], x y w h, in rank order."""
        return self.candidates.boxes


@dataclass(frozen=True)
class PreviewSubject:
    """The subject of a preview.

    approximate: cut features from a feature map of each photo, see ``PooledFeatures``. roots: what ``folders`` returned
    at the beginning of a view, which needs them a dozen times; None to read them each time.
    """

    workspace: Workspace
    mined: CorrespondenceSet
    dataset: Dataset
    encoder: Encoder
    approximate: bool = False
    roots: tuple[tuple[int, str], ...] | None = None

    def folders(self) -> tuple[tuple[int, str], ...]:
        """Return the folders of the dataset's photos, with the ids of their datasets. A dataset may move."""
        return tuple(sorted(photo_roots(self.workspace.store, self.dataset.id).items()))


def neighbors(subject: PreviewSubject, image: Image, k: int) -> list[NeighborImage]:
    """Return the K nearest photos of the set: its own rows if they suffice, else by features.

    A photo that the set does not hold is embedded, unless its features are stored.
    """
    store = subject.workspace.store
    stored = read.neighbors_of(store, subject.mined.id, image.id)
    if k <= len(stored) or (stored and MineConfig.of(subject.mined).skip_duplicates):
        return stored[:k]  # a set that skips near-duplicates does not know which further photos are neighbours
    ids, features = _set_features(subject)
    own = None if image.id in ids else _sources(subject).photos.get(image)
    found = nearest_to(features, ids, image.id, k, own)
    images = read.images_by_id(store, [int(i) for i in found.ids])
    return [
        NeighborImage(rank, images[int(i)], float(s))
        for rank, (i, s) in enumerate(zip(found.ids, found.similarity, strict=True), 1)
    ]


def shown_beside(subject: PreviewSubject, image: Image, other: Image) -> NeighborImage:
    """Return a photo to be shown beside another one, as a neighbour of rank 0."""
    photos = _sources(subject).photos
    return NeighborImage(0, other, float(photos.get(image) @ photos.get(other)))


def missing_photos(subject: PreviewSubject, image: Image) -> int:
    """Return the number of forward passes before the neighbours of a photo that the set does not hold are known."""
    return _sources(subject).photos.missing(image)


def sides(subject: PreviewSubject, images: list[Image], config: MineConfig) -> list[FilteredPhoto]:
    """Return the candidates of photos under these settings, and the reason for each rejected box."""
    sources = _sources(subject)
    raw = sources.raw.get(images, MineConfig.of(subject.mined))
    maps = sources.attention.get(images, config)
    found = {i.id: candidates.candidates(i, raw[i.id], config, maps[i.id]) for i in images}
    return [FilteredPhoto(raw[i.id], config.rules, found[i.id].filtered, Boxes.of(found[i.id])) for i in images]


def missing_searches(subject: PreviewSubject, images: list[Image]) -> int:
    """Return the number of photos on which selective search has to run before their candidates are known."""
    return _sources(subject).raw.missing(images, MineConfig.of(subject.mined))


def missing_maps(subject: PreviewSubject, images: list[Image], config: MineConfig) -> int:
    """Return the number of photos that need a forward pass before their candidates are known."""
    sources, own = _sources(subject), MineConfig.of(subject.mined)
    return sum(
        bool(sources.attention.missing([image], config) or sources.map_boxes.missing([image], own)) for image in images
    )


def missing_boxes(subject: PreviewSubject, *photos: FilteredPhoto) -> int:
    """Return the number of candidates without a feature."""
    if subject.approximate:
        return 0
    found = box_features(subject)
    return sum(found.missing(side.candidates) for side in photos)


def unstored_boxes(subject: PreviewSubject, side: FilteredPhoto) -> int:
    """Return the number of a photo's candidates that a run would embed. Features in memory are not on disk."""
    return box_features(subject).unstored(side.candidates)


def features(subject: PreviewSubject, side: FilteredPhoto) -> np.ndarray:
    """Return the features of a photo's candidates, float32 [B, C]. Embed those without one."""
    if subject.approximate:
        return _sources(subject).pooled.get(side.candidates)
    return box_features(subject).get(side.candidates)


def agreement(subject: PreviewSubject, query: Image, key: Image, rank: int) -> tuple[int, int]:
    """Return how many of the set's pairs of two photos the approximation also finds, and how many there are.

    rank: of the second among the neighbours of the first.
    """
    config = MineConfig.of(subject.mined)
    one, other = sides(subject, [query, key], config)
    found = []
    for approximate in (False, True):
        way = replace(subject, approximate=approximate)
        rois = described_side(way, one, config), described_side(way, other, config)
        pairs = candidates.match(*rois, config, nearest=rank == 1)
        found.append(set(zip(pairs.query.tolist(), pairs.key.tolist(), strict=True)))
    return len(found[0] & found[1]), len(found[0])


def described_side(subject: PreviewSubject, side: FilteredPhoto, config: MineConfig) -> Described:
    """Return the features and merits of a photo's candidates. Embed those without a feature."""
    size = side.image.width, side.image.height
    return candidates.describe(features(subject, side), side.boxes, size, side.candidates.objectness, config)


def pair_total(
    subject: PreviewSubject, query: Described, key: FilteredPhoto | None, rank: int, config: MineConfig
) -> int | None:
    """Return the number of pairs of the query with a neighbour of this rank; None if it would need a forward pass.

    If every pair may be kept, the neighbour's boxes are not needed: N is a share of the query's RoIs.
    """
    if not config.counts_vary:
        return pair_count(config.pair_ratio, len(query.features))
    if key is None or missing_boxes(subject, key):
        return None
    return len(candidates.match(query, described_side(subject, key, config), config, nearest=rank == 1))


def ready(subject: PreviewSubject, side: FilteredPhoto) -> bool:
    """Return whether a photo can be matched without a forward pass."""
    if subject.approximate:
        return _sources(subject).pooled.remembers(side.candidates)
    return missing_boxes(subject, side) == 0


@dataclass(frozen=True)
class BestMatch:
    """The RoI of a photo that is most similar to another photo's RoI."""

    index: int
    similarity: float


def best_match(subject: PreviewSubject, vector: np.ndarray, other: FilteredPhoto) -> BestMatch | None:
    """Return the best match of a RoI, float32 [C], in another photo; None if it would need a forward pass."""
    if not ready(subject, other):
        return None
    similar = features(subject, other) @ vector
    best = int(similar.argmax())
    return BestMatch(best, float(similar[best]))


def refused(
    similar: np.ndarray, query: Described, key: Described, pair: tuple[int, int], kept: Pairs, config: MineConfig
) -> str:
    """Return the rule that keeps a pair out, whatever its rank; "" if there is none. similar: float32 [B_q, B_k]."""
    if similar[pair] < config.min_similarity:
        return f"below min similarity {config.min_similarity:g}"
    if candidates.worth(similar, query.traits, key.traits)[pair] < config.least_worth:
        return f"below min worth {config.min_worth:g}"
    if config.consistent_only and similar[pair] < similar[:, pair[1]].max():
        return "its way back ends at another RoI"
    if query.traits.alike is not None and key.traits.alike is not None:
        alike = query.traits.alike[pair[0], kept.query] & key.traits.alike[pair[1], kept.key]
        worth = rank_of(similar, query, key, pair)
        ranks = [rank_of(similar, query, key, other) for other in zip(kept.query[alike], kept.key[alike], strict=True)]
        if any(rank < worth for rank in ranks):
            return "a better pair of nearly the same boxes is kept"
    return ""


def explain(side: FilteredPhoto, most: int | None = None) -> list[Rejected]:
    """Return the ``most`` largest rejected raw boxes, largest first, each with its rule and reason."""
    return rejections.explain_rejections(side.raw, side.filtered, side.rules, most)


def counterfactual(subject: PreviewSubject, side: FilteredPhoto, config: MineConfig, index: int) -> str:
    """Describe which setting would keep a raw box of the photo, by index; "" if it is kept or does not exist."""
    if index >= len(side.raw):
        return ""
    maps = _sources(subject).attention.get([side.image], config)

    def refilter(rules: BoxRules) -> Filtered:
        limits = {"min_size": rules.min_size, "max_aspect": rules.max_aspect, "max_iou": rules.max_iou}
        loose = config.model_copy(update=limits | {"max_rois": rules.max_rois, "spread_iou": rules.spread_iou})
        return candidates.candidates(side.image, side.raw, loose, maps[side.image.id]).filtered

    return rejections.counterfactual_text(side.raw, side.filtered, side.rules, index, refilter)


def box_features(subject: PreviewSubject) -> BoxFeatures:
    """Return the features by the set's encoder, with those that runs have added."""
    found = _sources(subject).boxes
    found.refresh()
    return found


def set_attention(subject: PreviewSubject) -> AttentionMaps:
    """Return the attention maps by the set's encoder."""
    return _sources(subject).attention


def set_map_boxes(subject: PreviewSubject) -> MapBoxes:
    """Return the boxes on the maps of the set's encoder."""
    return _sources(subject).map_boxes


@dataclass(frozen=True)
class _Sources:
    """The sources of raw boxes, features and maps of a dataset's photos."""

    raw: RawBoxes
    photos: PhotoFeatures
    boxes: BoxFeatures
    pooled: PooledFeatures
    attention: AttentionMaps
    map_boxes: MapBoxes


def _sources(subject: PreviewSubject) -> _Sources:
    precision = MineConfig.of(subject.mined).precision
    roots = subject.folders() if subject.roots is None else subject.roots
    return _opened_sources(subject.workspace, encoder_state(subject.encoder), roots, precision)


@computed_once(8)
def _opened_sources(
    workspace: Workspace, encoder: EncoderState, roots: tuple[tuple[int, str], ...], precision: Precision
) -> _Sources:
    found = _opened_features(workspace, encoder, precision)
    photos = Photos({dataset_id: Path(root) for dataset_id, root in roots})
    map_boxes = MapBoxes(found, photos)
    return _Sources(
        RawBoxes(workspace.store, photos, map_boxes),
        PhotoFeatures(found, photos),
        BoxFeatures(found, photos),
        PooledFeatures(found, photos),
        AttentionMaps(found, photos),
        map_boxes,
    )


def encoder_state(encoder: Encoder) -> EncoderState:
    """Return what tells an encoder from what its row was before, to keep things in memory by it."""
    return encoder.id, encoder.kind, encoder.weights_path, encoder.name


def encoder_features(workspace: Workspace, encoder_id: int, precision: Precision = "fp32") -> Features:
    """Return the stored features of an encoder, with its network, opened once for each state of its row."""
    return _opened_features(workspace, encoder_state(encoder_by_id(workspace.store, encoder_id)), precision)


@computed_once(8)
def _opened_features(workspace: Workspace, encoder: EncoderState, precision: Precision) -> Features:
    return Features(workspace, encoder_by_id(workspace.store, encoder[0]), precision=precision)


def _set_features(subject: PreviewSubject) -> tuple[np.ndarray, np.ndarray]:
    mined = subject.mined
    return _features_of(subject.workspace, mined.id, encoder_state(subject.encoder), MineConfig.of(mined).precision)


@computed_once(4)
def _features_of(
    workspace: Workspace, set_id: int, encoder: EncoderState, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array(sorted(write.matched_images(workspace.store, set_id)), np.int64)
    images = _opened_features(workspace, encoder, precision).images
    images.refresh()
    return ids, images.get(digests_of(workspace.store, ids))
