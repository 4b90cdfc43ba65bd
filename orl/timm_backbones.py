"""Backbones from timm, if it is installed."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any

import torch
from torch import nn

from orl_explorer.orl.architectures import TIMM

LOCAL = "local-dir:"  # timm's prefix of a folder
PROBE = 64  # pixels, side of the image that determines the shape of a network's map
STRIDE = 32  # pixels of the input per cell of the map, as for a ResNet


def build_timm(architecture: str) -> tuple[nn.Module, int]:
    """Build a timm network with random weights, without pooling and classifier. Returns it and its map's channels.

    Its state dict has timm's names. Raises ValueError if timm is missing, the name is unknown, or the network's map
    does not have stride 32.
    """
    name = architecture.removeprefix(TIMM)
    channels = _channels(name)
    return create(name, global_pool=""), channels


def timm_normalisation(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of RGB in [0, 1] that timm's weights of this name expect."""
    published = timm_library().get_pretrained_cfg(architecture.removeprefix(TIMM))
    return tuple(published.mean), tuple(published.std)


@cache
def _channels(name: str) -> int:
    """Return the channels of the map, without allocating or computing: on torch's meta device."""
    try:
        with torch.device("meta"), torch.no_grad():
            shape = tuple(create(name, global_pool="")(torch.zeros(1, 3, PROBE, PROBE)).shape)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(
            f"'{TIMM}{name}' does not accept images of any size ({reason}). Choose a convolutional network."
        ) from (error)
    cells = PROBE // STRIDE
    if len(shape) != 4 or shape[2:] != (cells, cells):
        raise ValueError(
            f"'{TIMM}{name}' gives {list(shape)} for an image of {PROBE} pixels, not a map [1, C, {cells}, {cells}]. "
            "Choose a convolutional network of stride 32."
        )
    return shape[1]


def create(name: str, pretrained: bool = False, **arguments: Any) -> nn.Module:
    """Build a network of timm without a classifier. Raises ValueError if timm is missing or the name is unknown."""
    timm = timm_library()
    if name.startswith(LOCAL):
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"Did you mean '{TIMM}{near[0]}'?" if near else "List its models with timm.list_models()."
        raise ValueError(f"timm has no model '{name}'. {hint}")
    model, _, tag = name.partition(".")
    known = [each.partition(".")[2] for each in timm.list_pretrained(f"{model}.*")] if tag else []
    if tag and tag not in known:
        raise ValueError(f"timm has no weights '{tag}' of {model}. It has {', '.join(known) or 'none'}.")
    return timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)


def timm_library() -> Any:
    """Return the module timm. Raises ValueError if it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"Reading {TIMM}… backbones needs timm. Install it with: pip install 'orl-explorer[timm]'."
        ) from error
    return timm
