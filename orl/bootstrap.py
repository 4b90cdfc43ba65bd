"""What BYOL, its multi-crop version and ORL share: an online network, its slow target, the loss between them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl.apart import in_one_pass
from orl.backbones import build_backbone
from orl.heads import mlp, pool
from orl.schedules import target_momentum


class Bootstrap(nn.Module):
    """Online backbone and projector, and a target that follows them (Sec. 3.1).

    Each view is its own batch for batch normalisation. The target runs in train mode and keeps its own buffers; only
    its parameters follow the online network.
    """

    def __init__(self, architecture: str, hidden: int, projection: int, momentum: float = 0.99) -> None:
        """momentum: of the target at the start; it rises to 1."""
        super().__init__()
        self.architecture, self.momentum = architecture, momentum
        self.backbone, features = build_backbone(architecture)
        self.projector = mlp(features, hidden, projection)
        self.target_backbone = frozen_copy(self.backbone)
        self.target_projector = frozen_copy(self.projector)

    def online(self, view: Tensor) -> Tensor:
        """Projection of a view by the online network: float [B, 3, S, S] -> float [B, projection]."""
        return self.online_each([view])[0]

    @torch.no_grad()
    def target(self, view: Tensor) -> Tensor:
        """Projection of a view by the target, outside the graph: float [B, 3, S, S] -> float [B, projection]."""
        return self.target_each([view])[0]

    def online_each(self, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """``online`` of small views of one size, which take less time together."""
        return _project(self.backbone, self.projector, views)

    @torch.no_grad()
    def target_each(self, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """``target`` of small views of one size, which take less time together."""
        return _project(self.target_backbone, self.target_projector, views)

    def after_step(self, step: int, total: int) -> None:
        """The target's step, after the optimiser's step number ``step`` (from 0) of ``total``."""
        momentum = target_momentum(step, total, self.momentum)
        follow(self.target_backbone, self.backbone, momentum)
        follow(self.target_projector, self.projector, momentum)


def _project(backbone: nn.Module, projector: nn.Module, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return in_one_pass(projector, [pool(features) for features in in_one_pass(backbone, views)])


def symmetric_loss(predictor: nn.Module, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Both directions of Eq. 1, summed and not averaged: in [0, 8], about 4 at the start.

    online, target: projections of the same two views by each network, float [B, projection].
    """
    a, b = in_one_pass(predictor, online)
    return regression_loss(a, target[1]) + regression_loss(b, target[0])


def frozen_copy(module: nn.Module) -> nn.Module:
    """A network that starts equal and never sees a gradient."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """slow = momentum * slow + (1 - momentum) * fast, parameters only."""
    old: list[Tensor] = list(slow.parameters())
    new: list[Tensor] = list(fast.parameters())
    torch._foreach_mul_(old, momentum)
    torch._foreach_add_(old, new, alpha=1 - momentum)


def regression_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """2 - 2 cos of each row, averaged over the batch: float [B, D] twice -> scalar, in single precision at least."""
    if prediction.dtype in (torch.float16, torch.bfloat16):
        prediction, target = prediction.float(), target.float()
    return (2 - 2 * F.cosine_similarity(prediction, target, dim=1)).mean()
