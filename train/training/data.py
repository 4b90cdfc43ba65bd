"""Views of photos for training. Their order and content are functions of (seed, epoch, image) only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from orl_explorer.orl.augment import as_row, augment
from orl_explorer.orl.boxes import jitter_box
from orl_explorer.orl.orl_loss import BRANCHES
from orl_explorer.orl.pixels import INPUT_SIZE, Crop, UnreadableImage, read_crops
from orl_explorer.orl.views import Pipeline, View, draw_changes, epoch_order, random_crop, view_generator
from orl_explorer.train.errors import UserError
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.trained_on import Correspondences

_Key = tuple[int, int]  # epoch, index of the image
Views = dict[str, Tensor]  # name -> uint8 [S, S, 3]; of a batch [B, S, S, 3]
CHANGES = "/changes"  # suffix of the pending augmentation of a view: float [9], of a batch [B, 9]
# Of stage 3, in the order of their generators: name, branch, number of the pipeline.
VIEW_ORDER = tuple(
    (name, branch.name, number) for branch in BRANCHES for number, name in enumerate((branch.first, branch.second))
)
VIEWS = tuple(name for name, _, _ in VIEW_ORDER)
CHOICE = 1_000  # number of the generator that draws neighbour, pair and RoI; different from those of the views


class ImageViews(Dataset):
    """Stage 1: views of whole photos."""

    def __init__(
        self, files: list[str], views: tuple[View, ...], seed: int, *, changed: bool = True, scale_blur: bool = False
    ) -> None:
        """changed: whether views are augmented here; if not, each comes with the augmentation for the device."""
        self.files, self.views, self.seed, self.changed, self.scale_blur = files, views, seed, changed, scale_blur

    def __len__(self) -> int:
        return len(self.files)

    def file(self, index: int) -> str:
        """Return the path of a photo."""
        return self.files[index]

    def __getitem__(self, key: _Key) -> Views:
        """Return each view by name, uint8 [S, S, 3]."""
        generators = [view_generator(self.seed, *key, number) for number in range(len(self.views))]
        cut = partial(_crops, self.views, generators)
        shown: Views = {}
        for view, generator, pixels in zip(self.views, generators, _read(self.files[key[1]], cut), strict=True):
            shown |= _changed(view.name, pixels, view.pipeline, generator, self.changed, self.scale_blur)
        return shown


class RoiViews(Dataset):
    """Stage 3: two views of each photo, of one of its RoIs and of one of its pairs (Sec. 3.3)."""

    def __init__(
        self, found: Correspondences, views: tuple[View, ...], config: ORLConfig, *, changed: bool = True
    ) -> None:
        """views: the two views of whole photos. Those of RoIs go through the same two pipelines, without the crop."""
        weights = (config.image_weight, config.intra_weight, config.inter_weight)
        self.found, self.config, self.views, self.changed = found, config, views, changed
        self.active = {b.name for b, weight in zip(BRANCHES, weights, strict=True) if weight}

    def __len__(self) -> int:
        return len(self.found.queries)

    def file(self, index: int) -> str:
        """Return the path of a query photo."""
        return self.found.files[int(self.found.queries[index])]

    def __getitem__(self, key: _Key) -> Views:
        """image_1, image_2: uint8 [S, S, 3]; roi, roi_jittered, query_roi, key_roi: uint8 [P, P, 3].

        A branch of weight 0 has no views.
        """
        epoch, index = key
        found, query = self.found, int(self.found.queries[index])
        choice = view_generator(self.config.seed, epoch, index, CHOICE)
        rois = found.rois[found.roi_start[query] : found.roi_start[query + 1]]
        box = rois[choice.integers(len(rois))]
        near = jitter_box(box, int(found.sizes[query, 0]), int(found.sizes[query, 1]), choice)
        neighbor = choice.integers(found.neighbor_start[query], found.neighbor_start[query + 1])
        pair = found.pairs[choice.integers(found.pair_start[neighbor], found.pair_start[neighbor + 1])]

        generators = [view_generator(self.config.seed, *key, number) for number in range(6)]
        boxes = (box, near, pair[:4])

        def cut(width: int, height: int) -> list[Crop]:
            # All crops, even of branches that are off: the crops decide at which scale the photo is decoded, and the
            # views of a branch must not depend on the other branches.
            patches = [Crop(patch, self.config.patch_size) for patch in boxes]
            return _crops(self.views, generators, width, height) + patches

        crops = dict(zip(VIEWS, _read(found.files[query], cut), strict=False))
        if "inter" in self.active:
            key_roi = Crop(pair[4:], self.config.patch_size)
            [crops["key_roi"]] = _read(found.files[found.neighbors[neighbor]], lambda *_: [key_roi])
        shown: Views = {}
        for number, (name, branch, which) in enumerate(VIEW_ORDER):
            if branch in self.active:
                pipeline, scaled = self.views[which].pipeline, self.config.scale_blur
                shown |= _changed(name, crops[name], pipeline, generators[number], self.changed, scaled)
        return shown


def _crops(views: tuple[View, ...], generators: list[np.random.Generator], width: int, height: int) -> list[Crop]:
    drawn = zip(views, generators, strict=False)
    return [Crop(random_crop(width, height, generator, view.pipeline.scale), view.size) for view, generator in drawn]


def _changed(
    name: str, pixels: np.ndarray, pipeline: Pipeline, generator: np.random.Generator, now: bool, scale_blur: bool
) -> Views:
    changes = draw_changes(pipeline, generator, len(pixels) / INPUT_SIZE if scale_blur else 1.0)
    if now:
        return {name: torch.from_numpy(augment(pixels, changes))}
    return {name: torch.from_numpy(pixels.copy()), name + CHANGES: torch.from_numpy(as_row(changes))}


def _read(file: str, plan: partial | object) -> list[np.ndarray]:
    try:
        return read_crops(Path(file), plan)  # type: ignore[arg-type]
    except UnreadableImage as error:
        raise UserError(
            f"Cannot read {file}: {error}. Restore it and resume the run, or run `orl ingest` on its folder and start "
            "a new run, which leaves it out."
        ) from error


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return the number of whole batches in an epoch. The last photos are left out. Raises UserError."""
    if count < batch_size:
        raise UserError(
            f"A batch of {batch_size} photos is too large: there are {count}. "
            + (f"Use --set batch_size={max(2, count // 4)}." if count > 1 else "Add photos.")
        )
    return count // batch_size


def batch_keys(count: int, config: TrainConfig, step: int) -> list[_Key]:
    """Return the keys of the photos of one step: a slice of its epoch's order."""
    epoch, within = divmod(step, steps_per_epoch(count, config.batch_size))
    order = epoch_order(config.seed, epoch, count)
    start = within * config.batch_size
    return [(epoch, index) for index in order[start : start + config.batch_size].tolist()]


@dataclass(frozen=True)
class BatchParts:
    """The keys of each forward pass from a step on. The sequence does not depend on where it starts.

    A batch is divided into ``config.accumulate`` parts, and each part among the processes.
    """

    count: int
    config: TrainConfig
    first: int
    rank: int = 0
    processes: int = 1

    def __iter__(self) -> Iterator[list[_Key]]:
        total = steps_per_epoch(self.count, self.config.batch_size) * self.config.epochs
        pieces = self.config.accumulate * self.processes
        size = self.config.batch_size // pieces
        for step in range(self.first, total):
            keys = batch_keys(self.count, self.config, step)
            for piece in range(self.rank, pieces, self.processes):
                yield keys[piece * size : (piece + 1) * size]


def loader(dataset: ImageViews | RoiViews, config: TrainConfig, parts: BatchParts, pin_memory: bool) -> DataLoader:
    """Return a loader of batches of views. The number of worker processes changes only the speed."""
    # Views are small, and a forked process would wait forever for threads of OpenCV, which a fork does not copy.
    cv2.setNumThreads(1)
    return DataLoader(
        dataset,
        batch_sampler=parts,
        num_workers=config.workers,
        worker_init_fn=_one_thread,
        pin_memory=pin_memory,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
