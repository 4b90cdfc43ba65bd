"""The data of a training run as flat arrays: gathered once, kept in its folder, and read again on resume."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from orl_explorer.db.lost import lost_images
from orl_explorer.db.models import CorrespondenceSet, Image
from orl_explorer.db.models import Dataset as DatasetRow
from orl_explorer.db.people.verdicts import wrong_pairs
from orl_explorer.db.photos import usable_images
from orl_explorer.db.sets.read import training_rows
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.lost import none_readable
from orl_explorer.train.mining.features import photo_keys
from orl_explorer.train.photos import Photos
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.start_from import refuse_wider
from orl_explorer.train.workspace import Workspace

FILE = "trained_on.npz"  # in the folder of the run


@dataclass(frozen=True)
class Correspondences:
    """A correspondence set, or photos alone, small enough for every loader process to share.

    files: path of each photo. digests: int64 [n], of their files, 0 if unknown. sizes: int32 [n, 2], width and height.
    queries: indices of the photos that have at least one pair. The RoIs of query i are
    ``rois[roi_start[i]:roi_start[i + 1]]`` (int16 [R, 4], x y w h). Its neighbours with at least one pair are
    ``neighbor_start[i]:neighbor_start[i + 1]``. Neighbour j is photo ``neighbors[j]`` with the pairs
    ``pairs[pair_start[j]:pair_start[j + 1]]`` (int16 [P, 8], query x y w h, key x y w h).
    """

    files: list[str]
    digests: np.ndarray
    sizes: np.ndarray
    queries: np.ndarray
    roi_start: np.ndarray
    rois: np.ndarray
    neighbor_start: np.ndarray
    neighbors: np.ndarray
    pair_start: np.ndarray
    pairs: np.ndarray

    def save(self, path: Path) -> None:
        """Write all arrays to one file, atomically."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "files"}
        names = np.frombuffer("\0".join(self.files).encode("utf-8", "surrogateescape"), np.uint8)
        publish(lambda file: np.savez(file, files=names, **arrays), path)

    @staticmethod
    def load(path: Path) -> Correspondences:
        """Read a file that ``save`` wrote."""
        with np.load(path) as arrays:
            names = arrays["files"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            found = {name: arrays[name] for name in arrays.files if name != "files"}
            earlier = {"digests": np.zeros(len(names), np.int64)}  # of early files, which have none
            return Correspondences(names, **earlier | found)

    def shows_the_same(self, other: Correspondences) -> bool:
        """Whether both have the same photos, by path and, where both are known, by digest."""
        if self.files != other.files:
            return False
        known = (self.digests != 0) & (other.digests != 0)
        return bool((self.digests == other.digests)[known].all())

    def digest(self) -> str:
        """Return the SHA-256 of boxes, neighbours and pairs. Paths do not count."""
        sha = hashlib.sha256()
        for name in ("queries", "roi_start", "rois", "neighbor_start", "neighbors", "pair_start", "pairs"):
            values = np.ascontiguousarray(getattr(self, name))
            sha.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return sha.hexdigest()


def photos_alone(workspace: Workspace, dataset: DatasetRow) -> Correspondences:
    """Return the readable photos of a dataset, by id, for stage 1. Raises UserError if there are none."""
    photos = Photos.of(workspace.store, dataset.id)
    images = list(usable_images(workspace.store, dataset.id))
    if not images:
        raise none_readable(dataset.name)
    none = np.zeros(0, np.int64)
    return Correspondences(
        files=[str(photos.path(image)) for image in images],
        digests=photo_keys(images),
        sizes=np.array([(i.width, i.height) for i in images], np.int32).reshape(-1, 2),
        queries=none,
        roi_start=none,
        rois=np.zeros((0, 4), np.int16),
        neighbor_start=none,
        neighbors=none,
        pair_start=none,
        pairs=np.zeros((0, 8), np.int16),
    )


def correspondences(
    workspace: Workspace, mined: CorrespondenceSet, dataset: DatasetRow, config: ORLConfig
) -> Correspondences:
    """Return a set for stage 3, reduced to the K and N of the run. Raises UserError if no pair is left.

    Photos that are gone or unreadable now are left out, as queries and as neighbours.

    Pairs are stored best first, so the first max(1, int(N · B_q)) pairs of a set mined with a larger N are those that
    mining with N would find (Table 5b).
    """
    refuse_wider(mined, config)
    photos = Photos.of(workspace.store, dataset.id)
    wrong = wrong_pairs(workspace.store) if config.leave_out_wrong else {}
    lost = lost_images(workspace.store, dataset.id)
    index: dict[int, int] = {}
    files: list[str] = []
    digests: list[int] = []
    sizes: list[tuple[int, int]] = []

    def position(image: Image) -> int:
        if image.id not in index:
            index[image.id] = len(files)
            files.append(str(photos.path(image)))
            digests.append(image.digest or 0)
            sizes.append((image.width, image.height))
        return index[image.id]

    every = [row for row in training_rows(workspace.store, mined.id) if row.image.id not in lost]
    for row in every:
        position(row.image)
    queries, neighbors = [], []
    roi_start, neighbor_start, pair_start = [0], [0], [0]
    rois, pairs = [], []
    for i, row in enumerate(every):
        rois.append(row.rois)
        roi_start.append(roi_start[-1] + len(row.rois))
        most = max(1, int(config.pair_ratio * len(row.rois))) if config.pair_ratio else None
        for neighbor, found in row.neighbors[: config.neighbors or None]:
            found = _without(found[:most], wrong.get((row.image.id, neighbor.id), set()))
            if len(found) and neighbor.id not in lost:
                neighbors.append(position(neighbor))
                pairs.append(found)
                pair_start.append(pair_start[-1] + len(found))
        neighbor_start.append(len(neighbors))
        if neighbor_start[-1] > neighbor_start[-2]:
            queries.append(i)
    if not queries:
        raise UserError(f"The correspondence set '{mined.name}' has no pairs left to train on.")
    return Correspondences(
        files,
        np.array(digests, np.int64),
        np.array(sizes, np.int32),
        np.array(queries),
        np.array(roi_start),
        np.concatenate(rois),
        np.array(neighbor_start),
        np.array(neighbors),
        np.array(pair_start),
        np.concatenate(pairs),
    )


def _without(pairs: np.ndarray, judged: Collection[tuple[int, ...]]) -> np.ndarray:
    """Return the pairs, int16 [P, 8], that are not among those judged wrong."""
    return pairs[[tuple(pair) not in judged for pair in pairs.tolist()]] if judged else pairs
