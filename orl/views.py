"""Random views of an image or a RoI: the crop and the changes of each, drawn from a given generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FLIP, JITTER, GRAY = 0.5, 0.8, 0.2  # probabilities
SIGMA = (0.1, 2.0)  # of the blur, pixels
RATIO = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Pipeline:
    """Parameters of a view: probabilities of blur and solarising, strength of the jitter, area of the crop."""

    blur: float
    solarize: float
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
    scale: tuple[float, float] = (0.08, 1.0)  # of the image's area


PIPELINES = (Pipeline(blur=1.0, solarize=0.0), Pipeline(blur=0.1, solarize=0.2))


@dataclass(frozen=True)
class View:
    """A crop of the whole image: its name in the batch, its pipeline, its side in pixels."""

    name: str
    pipeline: Pipeline
    size: int


@dataclass(frozen=True)
class Changes:
    """Changes to the pixels of one view.

    order: int, index into ``orl.augment.ORDERS`` of the four parts of the jitter. brightness, contrast, saturation:
    factors, 1 for none. hue: rotation of the colour circle, 0 for none. sigma: of the blur, pixels, 0 for none.
    """

    flip: bool
    order: int
    brightness: float
    contrast: float
    saturation: float
    hue: float
    gray: bool
    sigma: float
    solarize: bool


def view_generator(seed: int, epoch: int, image: int, view: int) -> np.random.Generator:
    """Return the generator of one view. It depends on these four numbers alone."""
    return np.random.default_rng([seed, epoch, image, view])


def random_crop(
    width: int, height: int, rng: np.random.Generator, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw a box x y w h as RandomResizedCrop does: area by ``scale``, aspect log-uniform in 3/4..4/3, 10 tries."""
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h
    # The largest central crop of an allowed aspect.
    w, h = width, height
    if width / height < RATIO[0]:
        h = round(w / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(h * RATIO[1])
    return (width - w) // 2, (height - h) // 2, max(w, 1), max(h, 1)


def draw_changes(pipeline: Pipeline, rng: np.random.Generator, blur: float = 1.0) -> Changes:
    """Draw the changes to a view: flip, colour jitter in random order, grey, blur, solarise.

    blur: factor of the blur's sigma, for views that are smaller than the published ones.
    """
    flip = rng.random() < FLIP
    order, (brightness, contrast, saturation, hue) = 0, (1.0, 1.0, 1.0, 0.0)
    if rng.random() < JITTER:
        *strengths, turn = pipeline.jitter
        brightness, contrast, saturation = (rng.uniform(max(0.0, 1 - s), 1 + s) for s in strengths)
        hue, order = rng.uniform(-turn, turn), int(rng.integers(24))
    gray = rng.random() < GRAY
    sigma = blur * rng.uniform(*SIGMA) if rng.random() < pipeline.blur else 0.0
    return Changes(flip, order, brightness, contrast, saturation, hue, gray, sigma, rng.random() < pipeline.solarize)


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order of the images in an epoch: int64 [count], a permutation that depends on seed and epoch alone."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))
