"""The blocks of a backbone, from its input on: what an adaptation keeps as it is, and where it learns slowly."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from typing import Any

from torch import nn

from orl_explorer.orl.dense import Dense
from orl_explorer.orl.efficientnet import EfficientNetLite0
from orl_explorer.orl.grouped_norm import BatchNorm

STEM = re.compile(r"(conv1|bn1|_conv_stem|_bn0)\.")
HEAD = re.compile(r"(_conv_head|_bn1)\.")


def blocks_of(backbone: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each block, in the order of a pass.

    The first block is the stem. The others are the stages of a convolutional network, or the blocks of a transformer.
    Layers after the last block belong to it, as in timm, whose grouping is used for its networks.
    """
    if isinstance(backbone, Dense):
        return [[f"network.{name}" for name in block] for block in blocks_of(backbone.network)]
    of_timm: Callable[..., Any] | None = getattr(backbone, "group_matcher", None)
    if of_timm is not None:
        from timm.models import group_parameters

        return [list(group) for group in group_parameters(backbone, of_timm(coarse=True)).values()]
    names = [name for name, _ in backbone.named_parameters()]
    blocks = [list(group) for _, group in groupby(names, _block)]
    if len(blocks) > 1 and HEAD.match(blocks[-1][0]):
        blocks[-2:] = [blocks[-2] + blocks[-1]]
    return blocks


def _block(name: str) -> str:
    """Return what the parameters of one block have in common: a layer of a ResNet, a number of EfficientNet-Lite0's."""
    if STEM.match(name):
        return "stem"
    if HEAD.match(name):
        return "head"
    return re.match(r"(_blocks\.\d+|[^.]+)", name)[0]  # type: ignore[index]


def divided(backbone: nn.Module, count: int) -> tuple[nn.Module, nn.Module] | None:
    """Return the first blocks of a backbone and the others, which follow one another; None if it is not known how.

    It is known of torchvision's ResNets and of EfficientNet-Lite0. The modules are the backbone's own.
    """
    blocks: list[Any]
    if isinstance(backbone, EfficientNetLite0):
        blocks = backbone.in_blocks()
    elif type(backbone) is nn.Sequential:
        layers: list[list[nn.Module]] = []
        for name, layer in backbone.named_children():
            if layers and (next(layer.parameters(), None) is None or STEM.match(f"{name}.")):
                layers[-1].append(layer)
            else:
                layers.append([layer])
        blocks = [nn.Sequential(*of_block) for of_block in layers]
    else:
        return None
    return nn.Sequential(*blocks[:count]), nn.Sequential(*blocks[count:])


def freeze(backbone: nn.Module, count: int, norms: bool = False) -> None:
    """Take the parameters of the first blocks out of the learning. ``hold_still`` does the same for their statistics.

    count: below 0, all blocks but so many last ones. norms: whether the same holds for all batch norms. Raises
    ValueError if no block would be left to learn.
    """
    blocks = blocks_of(backbone)
    if count >= len(blocks):
        raise ValueError(f"The backbone has {len(blocks)} blocks, so at most {len(blocks) - 1} can be frozen")
    for name in (name for block in blocks[:count] for name in block):
        backbone.get_parameter(name).requires_grad_(False)
    for module in backbone.modules() if norms else ():
        if isinstance(module, BatchNorm):
            module.requires_grad_(False)


def hold_still(backbone: nn.Module, count: int, norms: bool = False) -> None:
    """Set the modules of the first blocks to eval mode: batch norms keep their statistics, nothing is dropped out.

    norms: whether all batch norms keep theirs.
    """
    still = {name for block in blocks_of(backbone)[:count] for name in block}
    for module_name, module in backbone.named_modules():
        own = [f"{module_name}.{name}" if module_name else name for name, _ in module.named_parameters()]
        if (own and still.issuperset(own)) or (norms and isinstance(module, BatchNorm)):
            module.eval()
