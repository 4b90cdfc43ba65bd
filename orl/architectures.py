"""Names of the backbones; free of torch, so that settings and forms can be checked without it."""

from __future__ import annotations

STARTER = "efficientnet_lite0"
RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
ARCHITECTURES = (*RESNETS, STARTER)
TIMM = "timm:"  # prefix of a backbone that timm builds
