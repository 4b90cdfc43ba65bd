"""Parameters of networks and the floating-point operations of their passes, counted on torch's meta device.

Nothing is allocated or computed. A multiply-add counts as two operations, as in ``architectures.FORWARD``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.blocks import blocks_of, divided
from orl_explorer.orl.dense import build_dense
from orl_explorer.orl.reading import Reading
from orl_explorer.orl.trainable import on_paper

GIGA = 1e9


class Learning(NamedTuple):
    """What an image costs a backbone that learns.

    parameters, learned: all of them, and those that learn. forward: 10^9 operations of a forward pass, by the side of
    the image in pixels. share: of these, what frozen blocks leave to the backward pass. divisible: whether two networks
    that share frozen blocks compute them once.
    """

    parameters: int
    learned: int
    forward: dict[int, float]
    share: float
    divisible: bool


def of_learning(architecture: str, frozen: int, sides: tuple[int, ...]) -> Learning:
    """Count what a backbone with so many frozen blocks costs. Raises one of ``FAILURES`` if it cannot be built.

    The backward pass ends at the frozen blocks.
    """
    backbone = on_paper(architecture).eval()
    still = {name for block in blocks_of(backbone)[:frozen] for name in block}
    with torch.device("meta"), torch.no_grad():
        counts = {side: _counts(backbone, side) for side in sides}
    first = counts[sides[0]]
    kept = sum(first.get(name, 0.0) for name in _modules_of(backbone, still)) / first[""]
    sizes = {name: each.numel() for name, each in backbone.named_parameters() if each.requires_grad}
    every = sum(each.numel() for each in backbone.parameters())
    learned = sum(size for name, size in sizes.items() if name not in still)
    divisible = divided(backbone, frozen) is not None
    return Learning(every, learned, {side: found[""] for side, found in counts.items()}, 1 - kept, divisible)


def of_reading(architecture: str, reading: Reading | None, sides: tuple[int, ...]) -> list[float]:
    """Return the 10^9 operations of an encoder's forward pass, by side. Raises as ``of_learning``."""
    with torch.device("meta"), torch.no_grad():
        backbone = build_backbone(architecture)[0] if reading is None else build_dense(architecture, reading)
        return [_counts(backbone.eval(), side)[""] for side in sides]


def _counts(network: nn.Module, side: int) -> dict[str, float]:
    """Return the 10^9 operations of an image in each module, with all that it holds, by name; "" is the network."""
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    found = {name.partition(".")[2]: sum(each.values()) / GIGA for name, each in counter.get_flop_counts().items()}
    return found | {"": counter.get_total_flops() / GIGA}


def _modules_of(network: nn.Module, parameters: set[str]) -> list[str]:
    """Return the outermost modules that hold no other parameters than these, and at least one of them."""
    found: list[str] = []
    for name, module in network.named_modules():
        own = {f"{name}.{each}" if name else each for each, _ in module.named_parameters()}
        if own and own <= parameters and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found
