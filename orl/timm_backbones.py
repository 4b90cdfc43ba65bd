"""Backbones that timm builds, for those who have it installed."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any

import torch
from torch import nn

from orl_explorer.orl.architectures import TIMM

PROBE = 64  # pixels of the image that shows what a network makes of one
STRIDE = 32  # pixels of the input to a cell of the map, as of a ResNet


def build_timm(architecture: str) -> tuple[nn.Module, int]:
    """A network of timm's with random weights, without pooling and classifier, and the channels of its map.

    Its state dict has timm's names. Raises ValueError without timm, for an unknown name, and for a network that does
    not make a map of stride 32.
    """
    name = architecture.removeprefix(TIMM)
    channels = _channels(name)
    return _create(name), channels


def timm_normalisation(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in [0, 1] that timm's own weights of this name expect."""
    published = _timm().get_pretrained_cfg(architecture.removeprefix(TIMM))
    return tuple(published.mean), tuple(published.std)


@cache
def _channels(name: str) -> int:
    """Channels of the map, found without memory or computing: on torch's device for shapes alone."""
    try:
        with torch.device("meta"), torch.no_grad():
            shape = tuple(_create(name)(torch.zeros(1, 3, PROBE, PROBE)).shape)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(
            f"'{TIMM}{name}' does not take images of any size ({reason}); choose a ResNet-like one."
        ) from (error)
    cells = PROBE // STRIDE
    if len(shape) != 4 or shape[2:] != (cells, cells):
        raise ValueError(
            f"'{TIMM}{name}' makes {list(shape)} of an image of {PROBE} pixels, and a map [1, C, {cells}, {cells}] is "
            "needed; choose a convolutional one of stride 32."
        )
    return shape[1]


def _create(name: str) -> nn.Module:
    timm = _timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"Did you mean '{TIMM}{near[0]}'?" if near else "List its models with timm.list_models()."
        raise ValueError(f"timm has no model '{name}'. {hint}")
    return timm.create_model(name, pretrained=False, num_classes=0, global_pool="")


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"Backbones named {TIMM}… need timm: pip install 'orl-explorer[timm]'.") from error
    return timm
