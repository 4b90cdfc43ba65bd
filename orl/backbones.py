"""Backbones by architecture name: images in, feature map out."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from orl_explorer.orl.architectures import ARCHITECTURES, HF, RESNETS, STARTER, TIMM
from orl_explorer.orl.efficientnet import FEATURES, EfficientNetLite0
from orl_explorer.orl.timm_backbones import build_timm, timm_normalisation

Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation of RGB in [0, 1]
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE: Statistics = ((127 / 255,) * 3, (128 / 255,) * 3)


def build_backbone(architecture: str) -> tuple[nn.Module, int]:
    """Build a randomly initialised backbone. Returns it with its number of output channels.

    A ResNet's state dict has torchvision's names minus ``fc``; convolutions start kaiming-normal (fan_in) as
    in the reference. ``timm:NAME`` is a network of timm. Raises ValueError for an unknown name.
    """
    if architecture == STARTER:
        return EfficientNetLite0(), FEATURES
    if architecture.startswith(TIMM):
        return build_timm(architecture)
    if architecture.startswith(HF):
        raise ValueError(f"'{architecture}' of transformers can be read, not trained.")
    if architecture not in RESNETS:
        raise ValueError(
            f"There is no architecture '{architecture}'. Known architectures: {', '.join(ARCHITECTURES)}, {TIMM}NAME."
        )
    import torchvision  # only here: it imports torch's compiler, which takes as long as torch itself

    whole = torchvision.models.get_model(architecture, weights=None)
    channels = whole.fc.in_features
    trunk = nn.Sequential(OrderedDict((n, m) for n, m in whole.named_children() if n not in ("avgpool", "fc")))
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    return trunk, channels


def normalisation(architecture: str) -> Statistics:
    """Return the mean and standard deviation of RGB in [0, 1] that the architecture's weights expect."""
    if architecture.startswith(TIMM):
        return timm_normalisation(architecture)
    return LITE if architecture == STARTER else IMAGENET
