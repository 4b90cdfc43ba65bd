"""Imported correspondences as a correspondence set: the phases of mining, without those whose results are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder, Image
from orl_explorer.db.proposals import keep_proposals, proposals_of
from orl_explorer.db.sets import read as rows
from orl_explorer.db.sets import write
from orl_explorer.orl.boxes import BoxVerdict, judge_shape
from orl_explorer.orl.matching import measure_pairs
from orl_explorer.train.errors import UserError
from orl_explorer.train.lost import present_or_stored
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embed import BLOCK, embed_images, embed_rois
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.mine import MATCHED, match_rois, publish_set_measured, search_and_embed
from orl_explorer.train.mining.place import Here, WorkPlace
from orl_explorer.train.photos import Photos, known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

FILE = "given.npz"  # in the folder of the run


@dataclass(frozen=True)
class Given:
    """RoIs, neighbours and pairs of n photos, numbered from 0 in the order of the imported file.

    image_ids: int64 [n]. start: int64 [n + 1], photo i has boxes[start[i]:start[i + 1]]. boxes: int16 [R, 4], x y w h.
    neighbors: int32 [n, K], numbers of photos, nearest first. pair_start: int64 [n · K + 1], likewise for pairs.
    pairs: int16 [P, 2], the number of the query's RoI and of the neighbour's, each within its photo; best first.
    """

    image_ids: np.ndarray
    start: np.ndarray
    boxes: np.ndarray
    neighbors: np.ndarray
    pair_start: np.ndarray
    pairs: np.ndarray

    @property
    def only_neighbors(self) -> bool:
        """Whether RoIs and pairs are still to be mined."""
        return not len(self.boxes)

    def save(self, path: Path) -> None:
        """Write all arrays to one file."""
        np.savez(path, **asdict(self))

    @staticmethod
    def load(path: Path) -> Given:
        """Read arrays that ``save`` wrote."""
        with np.load(path) as arrays:
            return Given(**arrays)

    def rois(self, number: int) -> np.ndarray:
        """Return the RoIs of a photo, int16 [B, 4]."""
        return self.boxes[self.start[number] : self.start[number + 1]]

    def pairs_with(self, number: int, rank: int) -> np.ndarray:
        """Return the pairs of a photo with its neighbour of this rank, from 0: int16 [m, 2]."""
        at = number * self.neighbors.shape[1] + rank
        return self.pairs[self.pair_start[at] : self.pair_start[at + 1]]


def adopt(
    workspace: Workspace,
    dataset: Dataset,
    encoder: Encoder,
    name: str,
    config: MineConfig,
    given: Given,
    *,
    run_id: int,
    workers: int | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    place: WorkPlace | None = None,
) -> CorrespondenceSet:
    """Make a complete set of given correspondences. Continues an interrupted attempt of the same run.

    The encoder measures what the file does not contain: similarity of neighbours and pairs, margin and cycle. If only
    neighbours are given, RoIs and pairs are mined as usual. Photos without raw boxes by the config's method get their
    RoIs as raw boxes. Raises UserError if the photos have changed since the correspondences were read.
    """
    progress = progress or Progress()
    place = place or Here(workers)
    store = workspace.store
    photos = Photos.of(store, dataset.id)
    known = {image.id: image for image in known_photos(workspace, dataset, progress)}
    if not known.keys() >= set(given.image_ids.tolist()):
        raise UserError(f"Photos of '{dataset.name}' have changed since the file was read. Import it again.")
    images = [known[i] for i in given.image_ids.tolist()]
    _need_all(present_or_stored(workspace, images, photos, progress), images, dataset)
    adopted = write.begin_set(store, name, dataset.id, encoder.id, config.model_dump(), run_id)
    features = Features(workspace, encoder, device, config.precision)
    if given.only_neighbors:
        read = search_and_embed(workspace, adopted.id, features, images, photos, config, place, progress)
        _need_all(read, images, dataset)
    else:
        _take_rois(workspace, adopted.id, images, given, config, progress)
        _need_all(embed_images(features, images, photos, progress, place), images, dataset)
        embed_rois(workspace, adopted.id, features, images, photos, progress, place, settled=True)
    _take_neighbors(workspace, adopted.id, features, images, given, progress)
    if given.only_neighbors:
        match_rois(workspace, adopted.id, features, images, config, progress)
    else:
        _take_pairs(workspace, adopted.id, features, images, given, progress)
    return publish_set_measured(workspace, adopted.id, dataset, config, progress)


def _need_all(read: list[Image], images: list[Image], dataset: Dataset) -> None:
    """Raise UserError if some photos cannot be read: the correspondences name all of them."""
    lost = {image.path for image in images} - {image.path for image in read}
    if lost:
        raise UserError(
            f"{len(lost)} of the photos that the file lists can no longer be read, such as {min(lost)}. Restore them, "
            f"run `orl ingest` on the folder of '{dataset.name}', and import the file again."
        )


def _blocks(given: Given, done: set[int], size: int) -> Iterator[list[int]]:
    todo = [number for number, image_id in enumerate(given.image_ids.tolist()) if image_id not in done]
    yield from (todo[start : start + size] for start in range(0, len(todo), size))


def _take_rois(
    workspace: Workspace, set_id: int, images: list[Image], given: Given, config: MineConfig, progress: Progress
) -> None:
    done = write.filtered_images(workspace.store, set_id)
    progress.phase("Storing RoIs", len(images) - len(done))
    for block in _blocks(given, done, BLOCK):
        own = {images[number].id: given.rois(number) for number in block}
        keep_proposals(workspace.store, config.method, own)
        raw = proposals_of(workspace.store, list(own), config.method)
        batch = []
        for image_id, boxes in own.items():
            fallback = len(boxes) == 1 and judge_shape(boxes, config.rules)[0] != BoxVerdict.KEPT
            batch.append(write.CandidateRows(image_id, boxes, len(raw[image_id]), bool(fallback)))
        write.add_candidates(workspace.store, set_id, batch)
        progress.advance(len(block))


def _take_neighbors(
    workspace: Workspace, set_id: int, features: Features, images: list[Image], given: Given, progress: Progress
) -> None:
    progress.phase("Storing neighbours", len(given.image_ids))
    similarity, keys = np.empty(given.neighbors.shape, np.float32), photo_keys(images)
    for block in _blocks(given, set(), BLOCK):
        own = features.images.get(keys[block])
        near = features.images.get(keys[given.neighbors[block].ravel()])
        similarity[block] = np.einsum("nd,nkd->nk", own, near.reshape(len(block), -1, own.shape[1]))
    neighbor_ids = given.image_ids[given.neighbors]
    write.add_neighbors(workspace.store, set_id, given.image_ids, neighbor_ids, np.clip(similarity, -1, 1))
    progress.advance(len(given.image_ids))


def _take_pairs(
    workspace: Workspace, set_id: int, features: Features, images: list[Image], given: Given, progress: Progress
) -> None:
    digest_of = dict(zip(given.image_ids.tolist(), photo_keys(images).tolist(), strict=True))
    done = write.matched_images(workspace.store, set_id)
    progress.phase("Measuring pairs", len(given.image_ids) - len(done))
    for block in _blocks(given, done, MATCHED):
        involved = given.image_ids[np.union1d(block, given.neighbors[block])].tolist()
        rois = rows.rois_of(workspace.store, set_id, involved)
        vectors = {i: features.rois.get(roi_keys(digest_of[i], rois[i].boxes)) for i in involved}
        batch = []
        for number in block:
            image_id = int(given.image_ids[number])
            found = []
            for rank, neighbor_id in enumerate(given.image_ids[given.neighbors[number]].tolist()):
                chosen = given.pairs_with(number, rank)
                pairs = measure_pairs(vectors[image_id], vectors[neighbor_id], *chosen.T)
                ids = rois[image_id].ids[pairs.query], rois[neighbor_id].ids[pairs.key]
                found.append(write.MinedPairs(rank + 1, *ids, pairs.similarity, pairs.margin, pairs.cycle))
            batch.append(write.MinedImage(image_id, tuple(found)))
        write.add_pairs(workspace.store, set_id, batch)
        progress.advance(len(block))
