"""Projector and predictor: GAP -> Linear -> BN -> ReLU -> Linear without bias."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn

HIDDEN = 4096
PROJECTION = 256


def mlp(
    inputs: int,
    hidden: int = HIDDEN,
    outputs: int = PROJECTION,
    *,
    init: Literal["kaiming", "normal"] = "kaiming",
) -> nn.Sequential:
    """Two-layer head float [B, inputs] -> float [B, outputs]; modules named as in the reference's files.

    ``kaiming`` (fan_in) starts projectors and ORL's predictors, ``normal`` (std 0.01) BYOL's predictor.
    """
    head = nn.Sequential(
        OrderedDict(
            fc0=nn.Linear(inputs, hidden),
            bn0=nn.BatchNorm1d(hidden),
            relu=nn.ReLU(inplace=True),
            fc1=nn.Linear(hidden, outputs, bias=False),
        )
    )
    for layer in head:
        if isinstance(layer, nn.Linear):
            if init == "kaiming":
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return head


def pool(feature_map: Tensor) -> Tensor:
    """Global average pooling: float [B, C, h, w] -> float [B, C]."""
    return feature_map.mean(dim=(2, 3))
