"""Linear classifiers on several depths of a frozen backbone, or on one that is fine-tuned, and their views."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl_explorer.orl.backbones import build_backbone
from orl_explorer.orl.heads import pool
from orl_explorer.orl.views import Changes

FIRST_WEIGHTS = 0.01  # standard deviation of a classifier's weights at the start
JITTER = 0.4  # of brightness, contrast and saturation: factors in 1 ± this
# Lighting (Krizhevsky et al., 2012): principal components of RGB over ImageNet, in [0, 1], as columns; their spread.
COMPONENTS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
VARIATION = np.array([0.2175, 0.0188, 0.0045])
LIGHTING = 0.1  # standard deviation of how far the light moves along each


class DepthHeads(nn.Module):
    """A linear classifier for each depth, on its pooled map normalised by batch statistics without scale or shift.

    The classifiers share no weights, so the sum of their losses trains each one independently.
    """

    def __init__(self, shapes: list[tuple[int, int]], classes: int) -> None:
        """Build the classifiers. shapes: channels and cells per side of each pooled map."""
        super().__init__()
        self.shapes = shapes
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels, _ in shapes)
        self.heads = nn.ModuleList(_first(nn.Linear(channels * cells**2, classes)) for channels, cells in shapes)

    def forward(self, pooled: list[Tensor]) -> list[Tensor]:
        """Score pooled maps: float [B, C, c, c] each -> float [B, classes] each."""
        parts = zip(self.norms, self.heads, pooled, strict=True)
        return [head(norm(each).flatten(1)) for norm, head, each in parts]

    def split(self, rows: Tensor) -> list[Tensor]:
        """Split rows of concatenated pooled maps: float [B, D] -> float [B, C, c, c] each."""
        widths = [channels * cells**2 for channels, cells in self.shapes]
        each = zip(rows.split(widths, dim=1), self.shapes, strict=True)
        return [part.unflatten(1, (channels, cells, cells)) for part, (channels, cells) in each]


class Classifier(nn.Module):
    """A backbone to fine-tune, and a linear classifier on its pooled map."""

    def __init__(self, architecture: str, backbone: dict[str, Tensor], classes: int) -> None:
        """Build both. backbone: the state dict to start from."""
        super().__init__()
        self.backbone, features = build_backbone(architecture)
        self.backbone.load_state_dict(backbone)
        self.head = _first(nn.Linear(features, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Score normalised images: float [B, 3, S, S] -> float [B, classes]."""
        return self.head(pool(self.backbone(images)))


def _first(linear: nn.Linear) -> nn.Linear:
    nn.init.normal_(linear.weight, std=FIRST_WEIGHTS)
    nn.init.zeros_(linear.bias)
    return linear


def summed_loss(scores: list[Tensor], labels: Tensor) -> Tensor:
    """Return the sum of the cross-entropies of all depths: float [B, classes] each, int64 [B] -> scalar."""
    return torch.stack([F.cross_entropy(each, labels) for each in scores]).sum()


def right_within(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return whether the label is among the k best classes: float [B, classes], int64 [B] -> bool [B]."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(dim=1)


def draw_colour(rng: np.random.Generator, flip: bool) -> Changes:
    """Draw brightness, contrast and saturation in random order. flip: drawn earlier."""
    brightness, contrast, saturation = (rng.uniform(1 - JITTER, 1 + JITTER) for _ in range(3))
    return Changes(flip, int(rng.integers(24)), brightness, contrast, saturation, 0.0, False, 0.0, False)


def draw_lighting(rng: np.random.Generator) -> np.ndarray:
    """Draw a shift of lighting, to add to every pixel of a photo, RGB in [0, 1]: float32 [3]."""
    return (COMPONENTS @ (rng.normal(0, LIGHTING, 3) * VARIATION)).astype(np.float32)


def stepped_rate(rate: float, epoch: int, steps: tuple[int, ...], gamma: float) -> float:
    """Return the learning rate of an epoch, from 0: the rate times gamma for each step already passed."""
    return rate * gamma ** sum(epoch >= step for step in steps)
