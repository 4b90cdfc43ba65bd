"""What BYOL and ORL share: an online network, its slow target, and the loss between them (Sec. 3.1)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl.backbones import build_backbone
from orl.heads import mlp, pool


class Bootstrap(nn.Module):
    """Online backbone and projector, and a target that follows them.

    Each view is its own forward, so that it is its own batch for batch normalisation. The target runs in
    train mode and keeps its own buffers; only its parameters follow the online network.
    """

    def __init__(self, architecture: str, hidden: int, projection: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone, features = build_backbone(architecture)
        self.projector = mlp(features, hidden, projection)
        self.target_backbone = copy.deepcopy(self.backbone).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)

    def online(self, view: Tensor) -> Tensor:
        """Projection of a view by the online network: float [B, 3, S, S] -> float [B, projection]."""
        return self.projector(pool(self.backbone(view)))

    @torch.no_grad()
    def target(self, view: Tensor) -> Tensor:
        """Projection of a view by the target, outside the graph: float [B, 3, S, S] -> float [B, projection]."""
        return self.target_projector(pool(self.target_backbone(view)))

    def symmetric_loss(self, predictor: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        """Both directions of Eq. 1, summed and not averaged: in [0, 8], about 4 at the start."""
        a_to_b = regression_loss(predictor(self.online(a)), self.target(b))
        b_to_a = regression_loss(predictor(self.online(b)), self.target(a))
        return a_to_b + b_to_a

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """target = momentum * target + (1 - momentum) * online, parameters only, after the optimiser's step."""
        pairs = ((self.target_backbone, self.backbone), (self.target_projector, self.projector))
        for target, online in pairs:
            slow: list[Tensor] = list(target.parameters())
            fast: list[Tensor] = list(online.parameters())
            torch._foreach_mul_(slow, momentum)
            torch._foreach_add_(slow, fast, alpha=1 - momentum)


def regression_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """2 - 2 cos of each row, averaged over the batch: float [B, D] twice -> scalar."""
    return (2 - 2 * F.cosine_similarity(prediction, target, dim=1)).mean()
