"""The common part of BYOL, multi-crop BYOL and ORL: an online network, its target, the loss between them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl_explorer.orl.blocks import divided
from orl_explorer.orl.grouped_norm import in_one_pass
from orl_explorer.orl.heads import mlp, pool
from orl_explorer.orl.method import Method
from orl_explorer.orl.schedules import target_momentum
from orl_explorer.orl.trainable import build_trainable
from orl_explorer.orl.views import PIPELINES, View

IMAGES = ("image_1", "image_2")  # views of whole images; all other views of a method are small and of one size


class Bootstrap(Method):
    """Online backbone and projector, and a target that follows them (Sec. 3.1).

    Each view is normalised as a batch of its own. The target runs in train mode and keeps its own buffers; only
    its parameters follow the online network.
    """

    def __init__(self, architecture: str, hidden: int, projection: int, momentum: float = 0.99) -> None:
        """Build both networks. momentum: of the target at the start; it rises to 1."""
        super().__init__()
        self.architecture, self.momentum = architecture, momentum
        self.backbone, self.features = build_trainable(architecture)
        self.projector = mlp(self.features, hidden, projection)
        self.target_backbone = frozen_copy(self.backbone)
        self.target_projector = frozen_copy(self.projector)

    @property
    def backbones(self) -> tuple[nn.Module, ...]:
        """The online network's backbone and the target's."""
        return self.backbone, self.target_backbone

    def views(self, size: int) -> tuple[View, ...]:
        """Return two crops of the image, one through each pipeline."""
        return tuple(View(name, pipeline, size) for name, pipeline in zip(IMAGES, PIPELINES, strict=True))

    def online(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Project views with the online network, by name: float [B, 3, S, S] -> float [B, projection]."""
        return project(self.backbone, self.projector, views)

    @torch.no_grad()
    def target(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Project views with the target, by name, without gradients."""
        return project(self.target_backbone, self.target_projector, views)

    def slow_momentum(self, step: int, total: int) -> float:
        """Return the momentum of the target, which rises to 1."""
        return target_momentum(step, total, self.momentum)

    def both(self, views: Mapping[str, Tensor], followed: Iterable[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Project all views with the online network, and some with the target, by name.

        Frozen blocks are the same in both networks, and see each view once.
        """
        online = divided(self.backbone, self.frozen) if self.frozen else None
        target = divided(self.target_backbone, self.frozen) if self.frozen else None
        if online is None or target is None:
            return self.online(views), self.target({name: views[name] for name in followed})
        with torch.no_grad():
            maps = maps_of(online[0], views)
            followers = project(target[1], self.target_projector, {name: maps[name] for name in followed})
        return project(online[1], self.projector, maps), followers

    def after_step(self, step: int, total: int) -> None:
        """Update the target after the optimiser's step number ``step`` (from 0) of ``total``."""
        momentum = self.slow_momentum(step, total)
        follow_slowly(self.target_backbone, self.backbone, momentum)
        follow_slowly(self.target_projector, self.projector, momentum)

    def catch_up(self) -> None:
        """Make the target equal to the online network."""
        self.target_backbone.load_state_dict(self.backbone.state_dict())
        self.target_projector.load_state_dict(self.projector.state_dict())


def maps_of(backbone: nn.Module, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the maps of views, by name: float [B, 3, S, S] -> float [B, C, h, w]."""
    maps = {name: backbone(view) for name, view in views.items() if name in IMAGES}  # each of these fills a device
    small = {name: view for name, view in views.items() if name not in IMAGES}
    maps |= zip(small, in_one_pass(backbone, list(small.values())), strict=True)
    return maps


def project(backbone: nn.Module, projector: nn.Module, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Project views, by name, each normalised as a batch of its own: float [B, 3, S, S] -> float [B, projection]."""
    return pooled_projections(projector, maps_of(backbone, views))


def pooled_projections(projector: nn.Module, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the projections of pooled maps, by name: float [B, C, h, w] -> float [B, projection]."""
    return dict(zip(maps, in_one_pass(projector, list(map(pool, maps.values()))), strict=True))


def symmetric_loss(
    predictor: nn.Module, online: Mapping[str, Tensor], target: Mapping[str, Tensor], pair: tuple[str, str]
) -> Tensor:
    """Return the sum of both directions of Eq. 1 for a pair of views: in [0, 8], about 4 at the start.

    online, target: projections by each network, float [B, projection].
    """
    a, b = pair
    from_a, from_b = in_one_pass(predictor, [online[a], online[b]])
    return regression_loss(from_a, target[b]) + regression_loss(from_b, target[a])


def frozen_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a network that receives no gradients."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow_slowly(slow: nn.Module, fast: nn.Module, momentum: float) -> None:
    """Set slow = momentum * slow + (1 - momentum) * fast, learned parameters only: others would drift by rounding."""
    old: list[Tensor] = []
    new: list[Tensor] = []
    for behind, ahead in zip(slow.parameters(), fast.parameters(), strict=True):
        if ahead.requires_grad:
            old.append(behind)
            new.append(ahead)
    torch._foreach_mul_(old, momentum)
    torch._foreach_add_(old, new, alpha=1 - momentum)


def regression_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 2 - 2 cos of each row, averaged over the batch: float [B, D] twice -> scalar, at least float32."""
    if prediction.dtype in (torch.float16, torch.bfloat16):
        prediction, target = prediction.float(), target.float()
    return (2 - 2 * F.cosine_similarity(prediction, target, dim=1)).mean()
