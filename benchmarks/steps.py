"""Training steps that the benchmarks time: this project's, and BYOL from lightly's modules."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from orl_explorer.orl.method import Method

CPU = torch.device("cpu")
RATE, MOMENTUM, DECAY = 0.01, 0.9, 1e-4


class Lightly(nn.Module):
    """BYOL built from lightly's modules as in its documentation."""

    def __init__(self, backbone: str) -> None:
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        super().__init__()
        whole = torchvision.models.get_model(backbone, weights=None)
        width = whole.fc.in_features
        self.backbone = nn.Sequential(*list(whole.children())[:-1])
        self.projector = BYOLProjectionHead(width, 4096, 256)
        self.predictor = BYOLPredictionHead(256, 4096, 256)
        self.slow_backbone, self.slow_projector = copy.deepcopy(self.backbone), copy.deepcopy(self.projector)
        deactivate_requires_grad(self.slow_backbone)
        deactivate_requires_grad(self.slow_projector)

    def predict(self, view: Tensor) -> Tensor:
        return self.predictor(self.projector(self.backbone(view).flatten(1)))

    @torch.no_grad()
    def target(self, view: Tensor) -> Tensor:
        return self.slow_projector(self.slow_backbone(view).flatten(1))


def lightlys_step(
    backbone: str, lower: torch.dtype | None = None, device: torch.device = CPU
) -> Callable[[Tensor, Tensor], None]:
    """Do one optimiser step of lightly's BYOL on two views. lower: precision of forward passes, None for fp32."""
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.utils import update_momentum

    model, loss = Lightly(backbone).to(device).train(), NegativeCosineSimilarity()
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learned, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)

    def step(first: Tensor, second: Tensor) -> None:
        update_momentum(model.backbone, model.slow_backbone, 0.99)
        update_momentum(model.projector, model.slow_projector, 0.99)
        with torch.autocast(device.type, lower, enabled=lower is not None):
            value = loss(model.predict(first), model.target(second)) + loss(model.predict(second), model.target(first))
        value.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def learning_step(
    model: nn.Module | Callable, method: Method, lower: torch.dtype | None = None, device: torch.device = CPU
) -> Callable[[dict[str, Tensor]], Tensor]:
    """Do one step of a method on named views, as the training loop does, and return its loss.

    model: the method, or what wraps it. lower: precision of forward passes, None for fp32.
    """
    optimiser = method.optimiser(RATE, MOMENTUM, DECAY)
    scaler = torch.amp.GradScaler(device.type, enabled=lower is torch.float16)

    def step(views: dict[str, Tensor]) -> Tensor:
        with torch.autocast(device.type, lower, enabled=lower is not None):
            terms, _ = model(views)
        loss = torch.stack(list(terms.values())).sum()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
        method.after_step(1, 1000)
        return loss.detach()

    return step
