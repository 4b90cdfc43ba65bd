"""Heads on a pooled backbone: the projectors and predictors of every method, and the linear projector."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 4096
PROJECTION = 256

# bootstrap: Linear -> BN -> ReLU -> Linear without bias (BYOL, ORL; also their predictors).
# simclr: Linear -> BN -> ReLU -> Linear -> BN, no bias. moco: Linear -> ReLU -> Linear, no BN.
# linear: one layer with bias, on unit features (``LinearProjector``).
HeadKind = Literal["bootstrap", "simclr", "moco", "linear"]
ROWS = 64  # features that a linear projector multiplies at once


class Head(NamedTuple):
    """Shape of a head: width of the hidden layer, 0 for a linear one, length of the output, and kind."""

    hidden: int
    outputs: int
    kind: HeadKind = "bootstrap"


def mlp(
    inputs: int,
    hidden: int = HIDDEN,
    outputs: int = PROJECTION,
    kind: HeadKind = "bootstrap",
) -> nn.Sequential:
    """Build a two-layer head, float [B, inputs] -> float [B, outputs], with modules named as in the reference's files.

    Weights start kaiming-normal (fan in), biases at zero, in projectors and predictors alike.
    """
    layers: list[tuple[str, nn.Module]] = [("fc0", nn.Linear(inputs, hidden, bias=kind != "simclr"))]
    if kind != "moco":
        layers.append(("bn0", nn.BatchNorm1d(hidden)))
    layers += [("relu", nn.ReLU(inplace=True)), ("fc1", nn.Linear(hidden, outputs, bias=kind == "moco"))]
    if kind == "simclr":
        layers.append(("bn1", nn.BatchNorm1d(outputs)))
    head = nn.Sequential(OrderedDict(layers))
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return head


class LinearProjector(nn.Module):
    """One layer on the unit features of photos and RoIs alike: x -> W x + b.

    ``orl.linear`` learns it for an encoder that stays as it is. Starts as the identity.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Project pooled features of any length: float [B, inputs] -> float [B, outputs]."""
        return self.linear(F.normalize(pooled))

    @torch.inference_mode()
    def project(self, unit: np.ndarray) -> np.ndarray:
        """Project unit features: float32 [B, inputs] -> float32 [B, outputs], unit rows.

        Rows are multiplied in blocks of a fixed size: the last bits of a product depend on its shape, and a feature
        must not depend on the others of its batch.
        """
        weight, bias = (each.detach().cpu() for each in (self.linear.weight, self.linear.bias))
        padded = np.zeros((-(-len(unit) // ROWS) * ROWS, unit.shape[1]), np.float32)
        padded[: len(unit)] = unit
        blocks = torch.from_numpy(padded).split(ROWS)
        parts = [F.normalize(block @ weight.T + bias) for block in blocks]
        made = torch.cat(parts)[: len(unit)] if parts else torch.empty(0, len(bias))
        return made.numpy()


def build_head(inputs: int, head: Head) -> nn.Module:
    """Build a projector of this shape, float [B, inputs] -> float [B, outputs]."""
    return LinearProjector(inputs, head.outputs) if head.kind == "linear" else mlp(inputs, *head)


def head_of(state: dict[str, Tensor]) -> Head | None:
    """Return the shape of the head that a state dict belongs to, or None if it is not one of these heads."""
    only = state.get("linear.weight")
    if only is not None and only.ndim == 2:
        return Head(hidden=0, outputs=only.shape[0], kind="linear")
    outer = state.get("fc1.weight")
    if outer is None or outer.ndim != 2:
        return None
    kind: HeadKind = "simclr" if "bn1.weight" in state else "bootstrap" if "bn0.weight" in state else "moco"
    return Head(hidden=outer.shape[1], outputs=outer.shape[0], kind=kind)


def pool(feature_map: Tensor) -> Tensor:
    """Average a map over all cells: float [B, C, h, w] -> float [B, C]."""
    return feature_map.mean(dim=(2, 3))


def feature_spread(features: Tensor) -> Tensor:
    """Measure how far features are from collapse: float [B, D] -> scalar.

    It is the standard deviation of the unit features over the batch, times the square root of D: 0 if all are the same,
    1 if they are spread evenly on the sphere (SimSiam, Sec. 4.1).
    """
    unit = F.normalize(features.detach().float())
    return unit.std(dim=0).mean() * unit.shape[1] ** 0.5
