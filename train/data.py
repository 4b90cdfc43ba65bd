"""Photos as views. Order and every view are functions of (seed, epoch, image): nothing depends on the past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from db.correspondences import training_rows
from db.models import CorrespondenceSet, Image
from db.models import Dataset as DatasetRow
from db.photos import usable_images
from orl.boxes import jitter_box
from orl.object_level import BRANCHES
from orl.pixels import UnreadableImage, read_image
from orl.views import PIPELINES, augment, epoch_order, random_crop, resized_crop, view_generator
from train.config import TrainConfig
from train.errors import UserError
from train.photos import Photos
from train.workspace import Workspace

Key = tuple[int, int]  # epoch, index of the image
CHOICE = 1_000  # number of the generator that draws neighbour, pair and RoI, apart from those of the views


class ImageViews(Dataset):
    """Stage 1: two views of each photo."""

    def __init__(self, files: list[str], config: TrainConfig) -> None:
        self.files, self.config = files, config

    def __len__(self) -> int:
        return len(self.files)

    def file(self, index: int) -> str:
        """Path of a photo."""
        return self.files[index]

    def __getitem__(self, key: Key) -> dict[str, Tensor]:
        """image_1 and image_2, float [3, S, S]."""
        return image_views(self.files[key[1]], self.config, key)


@dataclass(frozen=True)
class Correspondences:
    """A correspondence set as flat arrays, small enough for every loader process to share.

    files: path of each photo; sizes: int32 [n, 2], width and height. Of query i, RoIs are
    ``rois[roi_start[i]:roi_start[i + 1]]`` (int16 [R, 4]); its neighbours with at least one pair are
    ``neighbor_start[i]:neighbor_start[i + 1]``, of which j is photo ``neighbors[j]`` with the pairs
    ``pairs[pair_start[j]:pair_start[j + 1]]`` (int16 [P, 8], query x y w h, key x y w h).
    queries: indices of the photos that have a pair at all.
    """

    files: list[str]
    sizes: np.ndarray
    queries: np.ndarray
    roi_start: np.ndarray
    rois: np.ndarray
    neighbor_start: np.ndarray
    neighbors: np.ndarray
    pair_start: np.ndarray
    pairs: np.ndarray


class RoiViews(Dataset):
    """Stage 3: two views of each photo, of one of its RoIs and of one of its pairs (Sec. 3.3)."""

    def __init__(self, found: Correspondences, config: TrainConfig) -> None:
        weights = (config.image_weight, config.intra_weight, config.inter_weight)
        self.found, self.config = found, config
        self.active = {b.name for b, weight in zip(BRANCHES, weights, strict=True) if weight}

    def __len__(self) -> int:
        return len(self.found.queries)

    def file(self, index: int) -> str:
        """Path of a query photo."""
        return self.found.files[int(self.found.queries[index])]

    def __getitem__(self, key: Key) -> dict[str, Tensor]:
        """image_1, image_2: float [3, S, S]; roi, roi_jittered, query_roi, key_roi: float [3, P, P].

        Branches of weight 0 have no views.
        """
        epoch, index = key
        found, query = self.found, int(self.found.queries[index])
        choice = view_generator(self.config.seed, epoch, index, CHOICE)
        rois = found.rois[found.roi_start[query] : found.roi_start[query + 1]]
        box = rois[choice.integers(len(rois))]
        near = jitter_box(box, int(found.sizes[query, 0]), int(found.sizes[query, 1]), choice)
        neighbor = choice.integers(found.neighbor_start[query], found.neighbor_start[query + 1])
        pair = found.pairs[choice.integers(found.pair_start[neighbor], found.pair_start[neighbor + 1])]

        photo = _open(found.files[query])
        views: dict[str, Tensor] = {}
        if "image" in self.active:
            views |= _two_views(photo, self.config, key)
        if "intra" in self.active:
            views["roi"] = self._patch(photo, box, key, 2, 0)
            views["roi_jittered"] = self._patch(photo, near, key, 3, 1)
        if "inter" in self.active:
            other = _open(found.files[found.neighbors[neighbor]])
            views["query_roi"] = self._patch(photo, pair[:4], key, 4, 0)
            views["key_roi"] = self._patch(other, pair[4:], key, 5, 1)
        return views

    def _patch(self, photo: PIL.Image.Image, box: np.ndarray, key: Key, view: int, pipeline: int) -> Tensor:
        generator = view_generator(self.config.seed, *key, view)
        return augment(resized_crop(photo, box, self.config.patch_size), PIPELINES[pipeline], generator)


def image_views(file: str, config: TrainConfig, key: Key) -> dict[str, Tensor]:
    """The two image-level views of a photo at an epoch."""
    return _two_views(_open(file), config, key)


def _two_views(photo: PIL.Image.Image, config: TrainConfig, key: Key) -> dict[str, Tensor]:
    views = {}
    for number, pipeline in enumerate(PIPELINES):
        generator = view_generator(config.seed, *key, number)
        crop = resized_crop(photo, random_crop(photo.width, photo.height, generator), config.image_size)
        views[f"image_{number + 1}"] = augment(crop, pipeline, generator)
    return views


def _open(file: str) -> PIL.Image.Image:
    try:
        return read_image(Path(file))
    except UnreadableImage as error:
        raise UserError(f"{file} cannot be read any more: {error}; run `orl ingest` on its folder again.") from error


def photo_files(workspace: Workspace, dataset: DatasetRow) -> list[str]:
    """Paths of a data set's readable photos, in the order of ids."""
    photos = Photos.of(workspace.store, dataset.id)
    return [str(photos.path(image)) for image in usable_images(workspace.store, dataset.id)]


def correspondences(workspace: Workspace, mined: CorrespondenceSet, dataset: DatasetRow) -> Correspondences:
    """Load a set for training. Raises UserError when it has no pair."""
    photos = Photos.of(workspace.store, dataset.id)
    index: dict[int, int] = {}
    files: list[str] = []
    sizes: list[tuple[int, int]] = []

    def position(image: Image) -> int:
        if image.id not in index:
            index[image.id] = len(files)
            files.append(str(photos.path(image)))
            sizes.append((image.width, image.height))
        return index[image.id]

    every = list(training_rows(workspace.store, mined.id))
    for row in every:
        position(row.image)
    queries, neighbors = [], []
    roi_start, neighbor_start, pair_start = [0], [0], [0]
    rois, pairs = [], []
    for i, row in enumerate(every):
        rois.append(row.rois)
        roi_start.append(roi_start[-1] + len(row.rois))
        for neighbor, found in row.neighbors:
            if len(found):
                neighbors.append(position(neighbor))
                pairs.append(found)
                pair_start.append(pair_start[-1] + len(found))
        neighbor_start.append(len(neighbors))
        if neighbor_start[-1] > neighbor_start[-2]:
            queries.append(i)
    if not queries:
        raise UserError(f"The correspondence set '{mined.name}' has no pair; mine with a lower --min-similarity.")
    return Correspondences(
        files,
        np.array(sizes, np.int32),
        np.array(queries),
        np.array(roi_start),
        np.concatenate(rois),
        np.array(neighbor_start),
        np.array(neighbors),
        np.array(pair_start),
        np.concatenate(pairs),
    )


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Whole batches in an epoch; the rest of the photos waits for the next one. Raises UserError."""
    if count < batch_size:
        raise UserError(
            f"A batch of {batch_size} photos needs at least as many, and there are {count}; "
            f"use --preset small or --set batch_size={max(2, count // 4)}."
        )
    return count // batch_size


def batch_keys(count: int, config: TrainConfig, step: int) -> list[Key]:
    """The photos of one step: a slice of its epoch's order."""
    epoch, within = divmod(step, steps_per_epoch(count, config.batch_size))
    order = epoch_order(config.seed, epoch, count)
    start = within * config.batch_size
    return [(epoch, index) for index in order[start : start + config.batch_size].tolist()]


@dataclass(frozen=True)
class Steps:
    """Keys of every batch from a step on: the tail of the same sequence, wherever it starts."""

    count: int
    config: TrainConfig
    first: int

    def __iter__(self) -> Iterator[list[Key]]:
        total = steps_per_epoch(self.count, self.config.batch_size) * self.config.epochs
        return (batch_keys(self.count, self.config, step) for step in range(self.first, total))


def loader(dataset: ImageViews | RoiViews, config: TrainConfig, first_step: int, pin_memory: bool) -> DataLoader:
    """Batches of views from a step on; the number of worker processes changes nothing but the speed."""
    return DataLoader(
        dataset,
        batch_sampler=Steps(len(dataset), config, first_step),
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        pin_memory=pin_memory,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
