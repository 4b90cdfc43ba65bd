"""Mask R-CNN of torchvision with a feature pyramid on an ORL backbone and trainable batch norms (Table 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN

from orl_explorer.orl.architectures import RESNETS
from orl_explorer.orl.backbones import build_backbone, normalisation

DEPTHS = ("layer1", "layer2", "layer3", "layer4")  # strides 4, 8, 16 and 32
PYRAMID = 256  # channels
WARMUP_START = 1e-3  # of the rate

DetectionTarget = dict[str, Tensor]


def build_detector(
    architecture: str, backbone: dict[str, Tensor], classes: int, sides: Sequence[int], longest: int
) -> MaskRCNN:
    """Build a detector whose backbone has these weights, loaded strictly, and whose other weights are random.

    classes: number of classes without the background. sides: short sides in pixels, of which one is drawn for each
    training image; the last is used for testing. longest: maximum of any side, pixels. All weights are trained. Raises
    ValueError if the architecture is not a ResNet.
    """
    if architecture not in RESNETS:
        raise ValueError(f"A feature pyramid needs the four depths of a ResNet, and '{architecture}' is not a ResNet.")
    trunk, features = build_backbone(architecture)
    trunk.load_state_dict(backbone)
    channels = [features // 8, features // 4, features // 2, features]
    layers = {name: str(number) for number, name in enumerate(DEPTHS)}
    pyramid = BackboneWithFPN(trunk, layers, channels, PYRAMID, norm_layer=nn.BatchNorm2d)
    mean, std = normalisation(architecture)
    return MaskRCNN(
        pyramid, classes + 1, min_size=tuple(sides), max_size=longest, image_mean=list(mean), image_std=list(std)
    )


def detector_rate(step: int, peak: float, warmup: int, milestones: Sequence[int], gamma: float) -> float:
    """Return the learning rate: a linear ramp from ``WARMUP_START`` of the peak, times ``gamma`` per milestone."""
    rate = peak * gamma ** sum(step >= milestone for milestone in milestones)
    if step < warmup:
        rate *= 1 - (1 - step / warmup) * (1 - WARMUP_START)
    return rate


def mirrored(image: Tensor, target: DetectionTarget) -> tuple[Tensor, DetectionTarget]:
    """Mirror an image [3, H, W] and its objects horizontally: boxes [n, 4] x1 y1 x2 y2, masks [n, H, W]."""
    left, top, right, bottom = target["boxes"].unbind(1)
    boxes = torch.stack([image.shape[-1] - right, top, image.shape[-1] - left, bottom], 1)
    return image.flip(-1), target | {"boxes": boxes, "masks": target["masks"].flip(-1)}
