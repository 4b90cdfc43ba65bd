"""Backbones that can be trained: convolutional networks, and all others of timm that give a map, such as ViTs."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from orl_explorer.orl.architectures import TIMM
from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.dense import Dense
from orl_explorer.orl.reading import Choices, Reading


def build_trainable(architecture: str) -> tuple[nn.Module, int]:
    """Build a randomly initialised backbone. Returns it with its number of output channels.

    It is that of ``build_backbone`` if that knows it. Another network of timm is read at its last layer, as a ``Dense``
    whose pooled feature is the mean of its map. Raises ValueError.
    """
    if not architecture.startswith(TIMM):
        return build_backbone(architecture)
    try:
        return build_backbone(architecture)
    except ValueError:
        from orl_explorer.orl.timm_dense import TimmDense, plan_timm

        reading = by_mean(replace(plan_timm(architecture, Choices()), learned_from="nothing"))
        return TimmDense.built(architecture, reading).train(), reading.channels


def by_mean(reading: Reading) -> Reading:
    """Return a reading whose pooled feature is the mean of the map, which is what methods train."""
    return replace(reading, pooling="mean", features=reading.channels)


def refuse_side(backbone: nn.Module, side: int) -> None:
    """Raise ValueError if views of a side in pixels would have to be resized for the backbone."""
    if not isinstance(backbone, Dense):
        return
    reading = backbone.reading
    if reading.fixed and side != reading.crop_size:
        raise ValueError(f"it takes images of {reading.crop_size} pixels only")
    if not reading.fixed and side % reading.multiple:
        below = max(1, side // reading.multiple) * reading.multiple
        raise ValueError(f"use a multiple of {reading.multiple}, such as {below} or {below + reading.multiple}")
