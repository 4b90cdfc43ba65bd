"""Apply the changes that ``orl.views`` draws to pixels: to one view on the CPU, or to a batch on its device.

Both give the same result up to rounding: the operations, their order and their luma weights are those of torchvision's
transforms on 8-bit images.
"""

from __future__ import annotations

import math
from dataclasses import astuple, fields
from itertools import permutations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from orl_explorer.orl.pixels import INPUT_SIZE
from orl_explorer.orl.views import Changes

ORDERS = tuple(permutations(range(4)))  # of brightness, contrast, saturation, hue
SOLARIZE_FROM = 128
LUMA = (0.299, 0.587, 0.114)
FIELDS = tuple(field.name for field in fields(Changes))
RADIUS = 6  # pixels, of the widest blur's kernel at 224 px: three times the largest sigma

_LEVELS = np.arange(256, dtype=np.float32)


def augment(pixels: np.ndarray, changes: Changes) -> np.ndarray:
    """Apply the changes to one view: uint8 [H, W, 3] RGB -> the same, contiguous."""
    if changes.flip:
        pixels = cv2.flip(pixels, 1)
    for part in ORDERS[changes.order]:
        match part:
            case 0 if changes.brightness != 1:
                pixels = cv2.LUT(pixels, _table(_LEVELS * changes.brightness))
            case 1 if changes.contrast != 1:
                mean = int(_luma(pixels).mean() + 0.5)
                pixels = cv2.LUT(pixels, _table(_LEVELS * changes.contrast + mean * (1 - changes.contrast)))
            case 2 if changes.saturation != 1:
                grey = cv2.cvtColor(_luma(pixels), cv2.COLOR_GRAY2RGB)
                pixels = cv2.addWeighted(pixels, changes.saturation, grey, 1 - changes.saturation, 0)
            case 3 if changes.hue != 0:
                turned = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
                turned[..., 0] += np.uint8(int(changes.hue * 255) % 256)
                pixels = cv2.cvtColor(turned, cv2.COLOR_HSV2RGB_FULL)
    if changes.gray:
        pixels = cv2.cvtColor(_luma(pixels), cv2.COLOR_GRAY2RGB)
    if changes.sigma > 0:
        side = 2 * _radius(changes.sigma) + 1
        pixels = cv2.GaussianBlur(pixels, (side, side), changes.sigma, borderType=cv2.BORDER_REFLECT_101)
    if changes.solarize:
        pixels = cv2.LUT(pixels, _table(np.where(_LEVELS < SOLARIZE_FROM, _LEVELS, 255 - _LEVELS)))
    return np.require(pixels, requirements=["C", "W"])  # a decoder's own memory is read-only


def as_row(changes: Changes) -> np.ndarray:
    """Return the changes as a row for ``augment_batch``: float32 [9], in the order of their fields."""
    return np.array(astuple(changes), np.float32)


def augment_batch(pixels: Tensor, rows: Tensor) -> Tensor:
    """Apply the changes to a batch of views on its device: uint8 [B, H, W, 3], float [B, 9] -> uint8.

    On a GPU this replaces a dozen loader processes. Equal to ``augment`` up to one or two levels of 255.
    """
    drawn = dict(zip(FIELDS, rows.unbind(1), strict=True))
    images = pixels.permute(0, 3, 1, 2).float()
    images = torch.where(_each(drawn["flip"] > 0), images.flip(3), images)
    orders = torch.tensor(ORDERS, device=rows.device)[drawn["order"].long()]
    for place in range(4):
        for part in range(4):
            which = orders[:, place] == part
            if part == 3:
                which &= drawn["hue"] != 0
            chosen = which.nonzero().squeeze(1)
            if len(chosen):
                images[chosen] = _jitter(images[chosen], part, {k: v[chosen] for k, v in drawn.items()})
    images = torch.where(_each(drawn["gray"] > 0), _grey(images), images)
    blurred = (drawn["sigma"] > 0).nonzero().squeeze(1)
    if len(blurred):
        images[blurred] = _blur(images[blurred], drawn["sigma"][blurred])
    solarised = torch.where(images < SOLARIZE_FROM, images, 255 - images)
    images = torch.where(_each(drawn["solarize"] > 0), solarised, images)
    return images.to(torch.uint8).permute(0, 2, 3, 1)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Normalise pixels: uint8 [B, H, W, 3] RGB -> float32 [B, 3, H, W], channels last in memory.

    mean, std: of RGB in [0, 1].
    """
    images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
    low, wide = (torch.tensor(v, device=pixels.device).view(1, 3, 1, 1) * 255 for v in (mean, std))
    return images.sub_(low).div_(wide)


def _table(levels: np.ndarray) -> np.ndarray:
    return np.clip(levels, 0, 255).astype(np.uint8)


def _luma(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _radius(sigma: float) -> int:
    return max(1, round(3 * sigma))


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _grey(images: Tensor) -> Tensor:
    weights = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True).add(0.5).floor().expand_as(images)


def _jitter(images: Tensor, part: int, drawn: dict[str, Tensor]) -> Tensor:
    match part:
        case 0:
            changed = images * _each(drawn["brightness"])
        case 1:
            mean = _grey(images)[:, :1].mean(dim=(1, 2, 3)).add(0.5).floor()
            changed = images * _each(drawn["contrast"]) + _each(mean * (1 - drawn["contrast"]))
        case 2:
            changed = images * _each(drawn["saturation"]) + _grey(images) * _each(1 - drawn["saturation"])
            return changed.clamp(0, 255).round()
        case _:
            return _turn(images, drawn["hue"])
    return changed.clamp(0, 255).floor()


def _turn(images: Tensor, hue: Tensor) -> Tensor:
    """Rotate the hue of float [B, 3, H, W] in 0..255 through HSV, by float [B] of a full circle."""
    high, low = images.amax(1), images.amin(1)
    spread = high - low
    r, g, b = images.unbind(1)
    safe = spread.clamp_min(1e-6)
    sector = torch.where(high == r, (g - b) / safe, torch.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    # The turn is a whole number of 1/256, as where hues are bytes.
    turned = (sector / 6 + (hue * 255).trunc().view(-1, 1, 1) / 256) % 1.0
    saturation = spread / high.clamp_min(1e-6)
    channels = []
    for shift in (5.0, 3.0, 1.0):
        k = (shift + turned * 6) % 6
        channels.append(high - high * saturation * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1).clamp(0, 255).round()


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each float [B, 3, H, W] with its own sigma, [B]: two passes, borders mirrored."""
    count, _, height, width = images.shape
    radius = max(RADIUS, math.ceil(RADIUS * height / INPUT_SIZE))  # sigma may be in proportion to the side
    steps = torch.arange(-radius, radius + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps / sigma.view(-1, 1)) ** 2)
    kernel = kernel * (steps.abs() <= (3 * sigma).round().clamp_min(1).view(-1, 1))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)  # one for each channel of each image
    flat = images.reshape(1, count * 3, height, width)
    mode = "reflect" if min(height, width) > radius else "replicate"
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode), kernel[:, None, None, :], groups=count * 3)
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode), kernel[:, None, :, None], groups=count * 3)
    return flat.view(count, 3, height, width).round()
