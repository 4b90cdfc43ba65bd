"""A set that was mined elsewhere, as a set of this store: its rows are given, and nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder
from orl_explorer.db.proposals import keep_proposals, proposals_of
from orl_explorer.db.sets import read as rows
from orl_explorer.db.sets import write
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embed import BLOCK, embed_images, embed_rois
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.mine import MATCHED, publish_set_measured
from orl_explorer.train.mining.place import WorkPlace
from orl_explorer.train.photos import Photos, known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

FILE = "restored.npz"  # in the folder of the run


@dataclass(frozen=True)
class Restored:
    """All rows of a set with n photos, numbered from 0.

    image_ids: int64 [n]. raw_count: int32 [n]. fallback: bool [n]. start: int64 [n + 1], photo i has the RoIs
    boxes[start[i]:start[i + 1]], int16 [R, 4], and their objectness, float32 [R], NaN if the set does not use it.
    neighbors: int32 [n, K]; nearness: float32 [n, K]. pair_start: int64 [n · K + 1], likewise for pairs: int16 [P, 2],
    the number of the query's RoI and of the neighbour's; similarity, margin: float32 [P]; cycle: bool [P].
    raw_start: int64 [n + 1], likewise for the raw boxes, int16 [M, 4]; all 0 if there are none.
    """

    image_ids: np.ndarray
    raw_count: np.ndarray
    fallback: np.ndarray
    start: np.ndarray
    boxes: np.ndarray
    objectness: np.ndarray
    neighbors: np.ndarray
    nearness: np.ndarray
    pair_start: np.ndarray
    pairs: np.ndarray
    similarity: np.ndarray
    margin: np.ndarray
    cycle: np.ndarray
    raw_start: np.ndarray
    raw: np.ndarray

    def save(self, path: Path) -> None:
        """Write all arrays to one file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def load(path: Path) -> Restored:
        """Read arrays that ``save`` wrote."""
        with np.load(path) as arrays:
            return Restored(**arrays)


def restore_set(
    workspace: Workspace,
    dataset: Dataset,
    encoder: Encoder,
    name: str,
    config: MineConfig,
    given: Restored,
    *,
    run_id: int,
    embed: bool,
    place: WorkPlace,
    device: str = "cpu",
    progress: Progress | None = None,
) -> CorrespondenceSet:
    """Store the rows as a complete set. Continues an interrupted attempt of the same run.

    embed: also compute the features of its photos and RoIs. Raises UserError if photos are not there any more.
    """
    progress = progress or Progress()
    known = {image.id: image for image in known_photos(workspace, dataset, progress)}
    if not known.keys() >= set(given.image_ids.tolist()):
        raise UserError(f"Photos of '{dataset.name}' have changed since the archive was read. Import it again.")
    images = [known[i] for i in given.image_ids.tolist()]
    restored = write.begin_set(workspace.store, name, dataset.id, encoder.id, config.model_dump(), run_id)
    _store_rois(workspace, restored.id, given, config, progress)
    progress.phase("Storing neighbours", len(images))
    write.add_neighbors(workspace.store, restored.id, given.image_ids, given.image_ids[given.neighbors], given.nearness)
    progress.advance(len(images))
    _store_pairs(workspace, restored.id, given, progress)
    if embed:
        features = Features(workspace, encoder, device, config.precision)
        photos = Photos.of(workspace.store, dataset.id)
        there = embed_images(features, images, photos, progress, place)
        embed_rois(workspace, restored.id, features, there, photos, progress, place, settled=True)
    return publish_set_measured(workspace, restored.id, dataset, config, progress)


def _blocks(given: Restored, done: set[int], size: int) -> Iterator[list[int]]:
    todo = [number for number, image_id in enumerate(given.image_ids.tolist()) if image_id not in done]
    yield from (todo[start : start + size] for start in range(0, len(todo), size))


def _store_rois(workspace: Workspace, set_id: int, given: Restored, config: MineConfig, progress: Progress) -> None:
    """Store RoIs, and the raw boxes of photos that have none here by the same method."""
    store, done, others = workspace.store, write.filtered_images(workspace.store, set_id), 0
    progress.phase("Storing RoIs", len(given.image_ids) - len(done))
    for block in _blocks(given, done, BLOCK):
        raw = {int(given.image_ids[n]): given.raw[slice(*given.raw_start[n : n + 2])] for n in block}
        raw = {image_id: boxes for image_id, boxes in raw.items() if len(boxes)}
        stored = {*keep_proposals(store, config.method, raw)}
        there = proposals_of(store, [image_id for image_id in raw if image_id not in stored], config.method)
        others += sum(not np.array_equal(boxes, raw[image_id]) for image_id, boxes in there.items())
        batch = []
        for number in block:
            own = slice(*given.start[number : number + 2])
            scores = given.objectness[own]
            batch.append(
                write.CandidateRows(
                    int(given.image_ids[number]),
                    given.boxes[own],
                    int(given.raw_count[number]),
                    bool(given.fallback[number]),
                    None if np.isnan(scores).any() else scores,
                )
            )
        write.add_candidates(store, set_id, batch)
        progress.advance(len(block))
    if others:
        progress.log(f"{others} photos have other raw boxes here. Pair and Tune filter those, not the archive's.")


def _store_pairs(workspace: Workspace, set_id: int, given: Restored, progress: Progress) -> None:
    done = write.matched_images(workspace.store, set_id)
    progress.phase("Storing pairs", len(given.image_ids) - len(done))
    k = given.neighbors.shape[1]
    for block in _blocks(given, done, MATCHED):
        involved = given.image_ids[np.union1d(block, given.neighbors[block])].tolist()
        ids = {image_id: own.ids for image_id, own in rows.rois_of(workspace.store, set_id, involved).items()}
        batch = []
        for number in block:
            image_id, found = int(given.image_ids[number]), []
            for rank, neighbor in enumerate(given.image_ids[given.neighbors[number]].tolist()):
                some = slice(*given.pair_start[number * k + rank : number * k + rank + 2])
                query, key = given.pairs[some].T
                numbers: tuple[Any, ...] = (given.similarity[some], given.margin[some], given.cycle[some])
                found.append(write.MinedPairs(rank + 1, ids[image_id][query], ids[neighbor][key], *numbers))
            batch.append(write.MinedImage(image_id, tuple(found)))
        write.add_pairs(workspace.store, set_id, batch)
        progress.advance(len(block))
