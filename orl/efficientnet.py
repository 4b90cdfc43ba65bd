"""EfficientNet-Lite0, the starter encoder's backbone: no squeeze-and-excitation, ReLU6, fixed stem and head.

Module names are those of the published weight file, so that it loads strictly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 1280
# repeats, kernel, stride, expansion, channels out
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, for input mirrored along both axes.

    At stride 2, TensorFlow pads an even side by one more at its end than at its start, and torch does the opposite. On
    mirrored input the two agree if the kernel is mirrored too. Padding in a separate step would copy the largest maps
    of the network and cost an eighth of its time.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve: mirrored float [B, C, H, W] -> mirrored float [B, C', ceil(H / stride), ceil(W / stride)]."""
        return self._conv_forward(x, self.weight if self.kernel_size == (1, 1) else _mirror(self.weight), self.bias)


def _mirror(x: Tensor) -> Tensor:
    return x.flip(2, 3)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Block that expands, filters depth-wise and projects, with a shortcut if the shape stays the same."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expands, self.shortcut = expansion != 1, stride == 1 and channels == out
        if self.expands:
            self._expand_conv = SameConv2d(channels, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv2d(wide, out, 1)
        self._bn2 = _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        """Map mirrored float [B, C, H, W] -> mirrored float [B, C', H', W']."""
        y = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        return x + y if self.shortcut else y


class _Activated(nn.Module):
    """A convolution, its batch norm and ReLU6."""

    def __init__(self, conv: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.norm(self.conv(x)), inplace=True)


class _Mirrored(nn.Module):
    """Mirrors maps along both axes."""

    def forward(self, x: Tensor) -> Tensor:
        return _mirror(x)


class EfficientNetLite0(nn.Module):
    """The convolutional part, which maps images to 1280 channels at stride 32."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, out in STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(channels, out, kernel, stride if i == 0 else 1, expansion))
                channels = out
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = SameConv2d(channels, FEATURES, 1)
        self._bn1 = _norm(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images float [B, 3, H, W] -> feature map float [B, 1280, H/32, W/32]."""
        x = F.relu6(self._bn0(self._conv_stem(_mirror(x))), inplace=True)
        return _mirror(F.relu6(self._bn1(self._conv_head(self._blocks(x))), inplace=True))

    def in_blocks(self) -> list[nn.Module]:
        """Return modules that do the same one after another: the stem, and each block, the last with the head.

        They are new, but share the layers of the network.
        """
        *blocks, last = self._blocks
        stem = nn.Sequential(_Mirrored(), _Activated(self._conv_stem, self._bn0))
        return [stem, *blocks, nn.Sequential(last, _Activated(self._conv_head, self._bn1), _Mirrored())]


def without_classifier(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the published weights without the ImageNet classifier."""
    return {name: torch.as_tensor(value) for name, value in published.items() if not name.startswith("_fc.")}
