"""Random views of an image or a RoI: every one a function of the generator that it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import functional as F

from orl.backbones import IMAGENET


@dataclass(frozen=True)
class Pipeline:
    """Probabilities that differ between the two sides; everything else is common."""

    blur: float
    solarize: float


PIPELINES = (Pipeline(blur=1.0, solarize=0.0), Pipeline(blur=0.1, solarize=0.2))

FLIP, JITTER, GRAY = 0.5, 0.8, 0.2  # probabilities
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1
SIGMA = (0.1, 2.0)  # pixels
SOLARIZE_FROM = 128
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def view_generator(seed: int, epoch: int, image: int, view: int) -> np.random.Generator:
    """The randomness of one view: a function of these four, whatever was drawn before or by whom."""
    return np.random.default_rng([seed, epoch, image, view])


def random_crop(
    width: int, height: int, rng: np.random.Generator, scale: tuple[float, float] = SCALE
) -> tuple[int, int, int, int]:
    """Box x y w h of a RandomResizedCrop: area by ``scale``, aspect log-uniform in 3/4..4/3, 10 tries."""
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


def resized_crop(image: Image.Image, box: tuple[int, int, int, int] | np.ndarray, size: int) -> Image.Image:
    """Cut x y w h and squash it to size x size, bilinear."""
    x, y, w, h = (int(v) for v in box)
    # resize(box=…) would let pixels beside the box bleed in.
    return image.crop((x, y, x + w, y + h)).resize((size, size), Image.Resampling.BILINEAR)


def augment(image: Image.Image, pipeline: Pipeline, rng: np.random.Generator) -> Tensor:
    """Flip, colour jitter, grey, blur, solarise, normalise: an RGB image -> float [3, H, W]."""
    if rng.random() < FLIP:
        image = ImageOps.mirror(image)
    if rng.random() < JITTER:
        image = _jitter_colour(image, rng)
    if rng.random() < GRAY:
        image = F.to_grayscale(image, num_output_channels=3)
    if rng.random() < pipeline.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*SIGMA)))
    if rng.random() < pipeline.solarize:
        image = ImageOps.solarize(image, SOLARIZE_FROM)
    return F.normalize(F.to_tensor(image), *(list(values) for values in IMAGENET))


def _jitter_colour(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    changes = (
        (F.adjust_brightness, rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)),
        (F.adjust_contrast, rng.uniform(1 - CONTRAST, 1 + CONTRAST)),
        (F.adjust_saturation, rng.uniform(1 - SATURATION, 1 + SATURATION)),
        (F.adjust_hue, rng.uniform(-HUE, HUE)),
    )
    for i in rng.permutation(len(changes)):
        change, amount = changes[i]
        image = change(image, amount)
    return image


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """Order of the images in an epoch: int64 [count], a permutation that depends on seed and epoch alone."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))
