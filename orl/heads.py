"""Heads on a pooled backbone: the projectors and predictors of every method."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, NamedTuple

from torch import Tensor, nn

HIDDEN = 4096
PROJECTION = 256

# bootstrap: Linear -> BN -> ReLU -> Linear without bias (BYOL, ORL; also their predictors).
# simclr: Linear -> BN -> ReLU -> Linear -> BN, no bias. moco: Linear -> ReLU -> Linear, no BN.
HeadKind = Literal["bootstrap", "simclr", "moco"]


class Head(NamedTuple):
    """Shape of a two-layer head: width of the hidden layer, length of the output, and kind."""

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


def head_of(state: dict[str, Tensor]) -> Head | None:
    """Return the shape of the head that a state dict belongs to, or None if it is not one of these heads."""
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
    unit = nn.functional.normalize(features.detach().float())
    return unit.std(dim=0).mean() * unit.shape[1] ** 0.5
