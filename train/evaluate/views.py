"""Labelled photos as classifiers see them. Order and every view are functions of (seed, epoch, photo)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from orl_explorer.orl.augment import augment, normalise
from orl_explorer.orl.backbones import normalisation
from orl_explorer.orl.measure.classifiers import draw_colour, draw_lighting
from orl_explorer.orl.pixels import INPUT_SIZE, Crop, UnreadableImage, center_crop, read_crops
from orl_explorer.orl.views import FLIP, epoch_order, random_crop, view_generator
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.features import read_photo
from orl_explorer.train.evaluate.folders import Labelled
from orl_explorer.train.evaluate.protocols import HeadConfig

_Kind = Literal["colour", "crop", "centre"]
AREA = (0.08, 1.0)  # of a random crop, as a share of the photo
AT_ONCE = 128  # photos of a forward pass that learns nothing


class LabelledViews(Dataset):
    """A view of a photo, what the light adds to it, and its label."""

    def __init__(self, photos: Labelled, kind: _Kind, size: int, seed: int) -> None:
        self.photos, self.kind, self.size, self.seed = photos, kind, size, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        """key: epoch, index. Returns uint8 [S, S, 3], float32 [3] and the label."""
        epoch, index = key
        file, label = self.photos.files[index], int(self.photos.labels[index])
        light = np.zeros(3, np.float32)
        if self.kind == "centre":
            pixels = centre(file, self.size)
        else:
            rng = view_generator(self.seed, epoch, index, 0)
            pixels = _random_crop(file, self.size, rng)
            flip = rng.random() < FLIP
            if self.kind == "colour":
                pixels, light = augment(pixels, draw_colour(rng, flip)), draw_lighting(rng)
            elif flip:
                pixels = pixels[:, ::-1]
        writable = np.require(pixels, requirements=["C", "W"])  # a decoder's own memory must not be written to
        return torch.from_numpy(writable), torch.from_numpy(light), label


def centre(file: str, size: int) -> np.ndarray:
    """The centre of a photo, whose short side is made 8 / 7 of it: uint8 [size, size, 3]. Raises UserError."""
    return center_crop(read_photo(file), round(size * 256 / INPUT_SIZE), size)


def _random_crop(file: str, size: int, rng: np.random.Generator) -> np.ndarray:
    try:
        [pixels] = read_crops(Path(file), lambda w, h: [Crop(random_crop(w, h, rng, AREA), size)])
    except UnreadableImage as error:
        raise UserError(f"{file} cannot be read: {error}.") from error
    return pixels


@dataclass(frozen=True)
class Steps:
    """Which photos every step sees, from the first epoch to the last.

    The last batch of an epoch is a short one; a photo that would be alone in it, which no batch norm can work with,
    goes along with the batch before.
    """

    count: int
    config: HeadConfig

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        size = self.config.batch_size
        return max(1, -(-self.count // size) - (self.count % size == 1))

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.per_epoch * self.config.epochs

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, from 0."""
        return step // self.per_epoch

    def batch(self, step: int) -> list[int]:
        """Indices of the photos of a step."""
        epoch, within = divmod(step, self.per_epoch)
        order = epoch_order(self.config.seed, epoch, self.count).tolist()
        start = within * self.config.batch_size
        return order[start:] if within == self.per_epoch - 1 else order[start : start + self.config.batch_size]

    def keys_from(self, first: int) -> Iterator[list[tuple[int, int]]]:
        """(epoch, index) of the photos of every step from one on."""
        for step in range(first, self.total):
            yield [(self.epoch(step), index) for index in self.batch(step)]


@dataclass(frozen=True)
class KeysFrom:
    """A tail of the steps, as a loader takes it."""

    steps: Steps
    first: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.steps.keys_from(self.first)


def training_batches(
    photos: Labelled, kind: _Kind, steps: Steps, first: int, architecture: str, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised views float [B, 3, S, S] and labels int64 [B] of every step from one on."""
    config = steps.config
    views = LabelledViews(photos, kind, config.image_size, config.seed)
    yield from _loaded(views, KeysFrom(steps, first), config.workers, architecture, device)


def centre_batches(
    photos: Labelled, config: HeadConfig, architecture: str, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Centre crops and labels of all photos, in order, as many at once as a device takes."""
    keys = [(0, i) for i in range(len(photos.files))]
    batches = [keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)]
    views = LabelledViews(photos, "centre", config.image_size, config.seed)
    yield from _loaded(views, batches, config.workers, architecture, device)


def _said_plainly(loader: DataLoader) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    try:
        yield from loader
    except UserError as error:  # what comes from a loading process has its traceback around it
        raise UserError(str(error).rpartition("UserError: ")[2].strip()) from error


def _loaded(
    views: LabelledViews,
    keys: KeysFrom | list[list[tuple[int, int]]],
    workers: int,
    architecture: str,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    cv2.setNumThreads(1)  # threads that a fork leaves behind would be waited for in vain
    loader = DataLoader(views, batch_sampler=keys, num_workers=workers, pin_memory=device.type == "cuda")
    mean, std = normalisation(architecture)
    spread = torch.tensor(std, device=device)
    for pixels, light, labels in _said_plainly(loader):
        images = normalise(pixels.to(device, non_blocking=True), mean, std)
        images += (light.to(device) / spread)[:, :, None, None]
        yield images, labels.to(device)
