"""Backbones that can be trained: convolutional networks, and all others of timm that give a map, such as ViTs."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import lru_cache

import torch
from torch import nn

from orl_explorer.orl.architectures import TIMM
from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.dense import Dense
from orl_explorer.orl.reading import Choices, Reading


def build_trainable(architecture: str) -> tuple[nn.Module, int]:
    """Build a randomly initialised backbone. Returns it with its number of output channels.

    It is that of ``build_backbone`` if that knows it. Another network of timm is read at its last layer, as a ``Dense``
    whose pooled feature is the mean of its map; what the map does not depend on, such as a head, does not learn. Raises
    ValueError.
    """
    if not architecture.startswith(TIMM):
        return build_backbone(architecture)
    try:
        return build_backbone(architecture)
    except ValueError:
        from orl_explorer.orl.timm_dense import TimmDense, plan_timm

        reading = by_mean(replace(plan_timm(architecture, Choices()), learned_from="nothing"))
        with torch.device("meta"):
            read = _read(TimmDense.built(architecture, reading).train(), reading.crop_size)
        backbone = TimmDense.built(architecture, reading).train()
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(name in read)
        return backbone, reading.channels


def on_paper(architecture: str) -> nn.Module:
    """Return a backbone on torch's meta device, without values. Raises ValueError."""
    return copy.deepcopy(_on_paper(architecture))


@lru_cache(maxsize=8)  # a form asks again at every change of any field
def _on_paper(architecture: str) -> nn.Module:
    with torch.device("meta"):
        return build_trainable(architecture)[0]


def _read(backbone: nn.Module, side: int) -> set[str]:
    """Return the names of the parameters that a map depends on, from the graph of its gradient. side: of the images."""
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    todo = [backbone(torch.zeros(2, 3, side, side)).grad_fn]
    seen, found = set(todo), set[str]()
    while todo:
        node = todo.pop()
        if name := names.get(id(getattr(node, "variable", None))):
            found.add(name)
        fresh = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= fresh
        todo += fresh
    return found


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
