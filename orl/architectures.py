"""Names of the backbones. Imports no torch, so that settings and forms are checked without it."""

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
HF = "hf:"  # prefix of an encoder that transformers builds

# Forward pass of one 224 x 224 image, 10^9 floating-point operations (two for each multiply-add).
FORWARD = {
    "resnet18": 3.63,
    "resnet34": 7.34,
    "resnet50": 8.18,
    "resnet101": 15.6,
    "resnet152": 23.0,
    "resnext50_32x4d": 8.46,
    "resnext101_32x8d": 32.8,
    "resnext101_64x4d": 30.9,
    "wide_resnet50_2": 22.8,
    "wide_resnet101_2": 45.5,
}
# Parameters of the backbone, 10^6.
PARAMETERS = {
    "resnet18": 11.2,
    "resnet34": 21.3,
    "resnet50": 23.5,
    "resnet101": 42.5,
    "resnet152": 58.1,
    "resnext50_32x4d": 23.0,
    "resnext101_32x8d": 86.7,
    "resnext101_64x4d": 81.4,
    "wide_resnet50_2": 66.8,
    "wide_resnet101_2": 124.8,
}
UNKNOWN = "resnet50"  # stands for a backbone whose cost cannot be counted
