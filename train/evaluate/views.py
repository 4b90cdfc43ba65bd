"""Views of labelled photos for classifiers. Their order and content are functions of (seed, epoch, photo)."""

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
from orl_explorer.orl.backbones import Statistics
from orl_explorer.orl.measure.classifiers import draw_colour, draw_lighting
from orl_explorer.orl.pixels import INPUT_SIZE, Crop, UnreadableImage, center_crop, read_crops
from orl_explorer.orl.views import FLIP, epoch_order, random_crop, view_generator
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.features import read_photo
from orl_explorer.train.evaluate.folders import Labelled
from orl_explorer.train.evaluate.protocols import HeadConfig
from orl_explorer.train.pools import drawn_batches

_Kind = Literal["colour", "crop", "centre"]
AREA = (0.08, 1.0)  # of a random crop, as a share of the photo
AT_ONCE = 128  # photos of a forward pass without training


class LabelledViews(Dataset):
    """Views of photos, their lighting shifts, and their labels."""

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
    """Return the centre of a photo with a short side of 8 / 7 size: uint8 [size, size, 3]. Raises UserError."""
    return center_crop(read_photo(file), round(size * 256 / INPUT_SIZE), size)


def _random_crop(file: str, size: int, rng: np.random.Generator) -> np.ndarray:
    try:
        [pixels] = read_crops(Path(file), lambda w, h: [Crop(random_crop(w, h, rng, AREA), size)])
    except UnreadableImage as error:
        raise UserError(f"Cannot read {file}: {error}.") from error
    return pixels


@dataclass(frozen=True)
class Steps:
    """The photos of every step, from the first epoch to the last.

    The last batch of an epoch may be short. If it would hold a single photo, which a batch norm cannot normalise, the
    photo joins the batch before.
    """

    count: int
    config: HeadConfig

    @property
    def per_epoch(self) -> int:
        """The number of steps of an epoch."""
        size = self.config.batch_size
        return max(1, -(-self.count // size) - (self.count % size == 1))

    @property
    def total(self) -> int:
        """The number of steps of all epochs."""
        return self.per_epoch * self.config.epochs

    def epoch(self, step: int) -> int:
        """Return the epoch of a step, from 0."""
        return step // self.per_epoch

    def batch(self, step: int) -> list[int]:
        """Return the indices of the photos of a step."""
        epoch, within = divmod(step, self.per_epoch)
        order = epoch_order(self.config.seed, epoch, self.count).tolist()
        start = within * self.config.batch_size
        return order[start:] if within == self.per_epoch - 1 else order[start : start + self.config.batch_size]

    def keys_from(self, first: int) -> Iterator[list[tuple[int, int]]]:
        """Yield (epoch, index) of the photos of each step, from a first step on."""
        for step in range(first, self.total):
            yield [(self.epoch(step), index) for index in self.batch(step)]


@dataclass(frozen=True)
class KeysFrom:
    """A batch sampler of the steps from a first one on."""

    steps: Steps
    first: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.steps.keys_from(self.first)


def training_batches(
    photos: Labelled, kind: _Kind, steps: Steps, first: int, statistics: Statistics, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield normalised views, float [B, 3, S, S], and labels, int64 [B], of each step from a first one on."""
    config = steps.config
    views = LabelledViews(photos, kind, config.image_size, config.seed)
    yield from _loaded(views, KeysFrom(steps, first), config.workers, statistics, device)


def centre_batches(
    photos: Labelled, config: HeadConfig, statistics: Statistics, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield centre crops and labels of all photos, in order, in batches."""
    keys = [(0, i) for i in range(len(photos.files))]
    batches = [keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)]
    views = LabelledViews(photos, "centre", config.image_size, config.seed)
    yield from _loaded(views, batches, config.workers, statistics, device)


def _loaded(
    views: LabelledViews,
    keys: KeysFrom | list[list[tuple[int, int]]],
    workers: int,
    statistics: Statistics,
    device: torch.device,
) -> Iterator[tuple[Tensor, Tensor]]:
    cv2.setNumThreads(1)  # a forked process would wait forever for threads, which a fork does not copy
    loader = DataLoader(views, batch_sampler=keys, num_workers=workers, pin_memory=device.type == "cuda")
    mean, std = statistics
    spread = torch.tensor(std, device=device)
    for pixels, light, labels in drawn_batches(loader):
        images = normalise(pixels.to(device, non_blocking=True), mean, std)
        images += (light.to(device) / spread)[:, :, None, None]
        yield images, labels.to(device)
