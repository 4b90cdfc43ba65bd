"""SimCLR: contrast of two views of an image with all other views of the batch (baseline of Tables 1-4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from orl_explorer.orl.distributed import gather_rows
from orl_explorer.orl.heads import mlp, pool
from orl_explorer.orl.method import Method, Terms
from orl_explorer.orl.trainable import build_trainable
from orl_explorer.orl.views import Pipeline, View

PIPELINE = Pipeline(blur=0.5, solarize=0.0, jitter=(0.8, 0.8, 0.8, 0.2))


class SimCLR(Method):
    """SimCLR: one network without a target, trained with LARS."""

    published = "lars"  # without decay of biases and batch norms

    def __init__(self, architecture: str, hidden: int = 2048, projection: int = 128, temperature: float = 0.1) -> None:
        super().__init__()
        self.architecture, self.temperature = architecture, temperature
        self.backbone, features = build_trainable(architecture)
        self.projector = mlp(features, hidden, projection, "simclr")

    def views(self, size: int) -> tuple[View, ...]:
        """Return two crops of the image, through one pipeline with twice BYOL's jitter."""
        return tuple(View(f"image_{i}", PIPELINE, size) for i in (1, 2))

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return one term, ``image``, about log(2B - 1) at the start. views: image_1, image_2."""
        first, second = (self.projector(pool(self.backbone(views[f"image_{i}"]))) for i in (1, 2))
        return {"image": contrastive_loss(gather_rows(first), gather_rows(second), self.temperature)}, first


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return NT-Xent of 2B views, each against its partner and 2B - 2 others: float [B, D] twice -> scalar."""
    unit = F.normalize(torch.cat([first, second]).float())
    similarity = unit @ unit.T / temperature  # 2B 2B
    similarity.fill_diagonal_(-torch.inf)
    count = len(first)
    partner = torch.arange(2 * count, device=unit.device).roll(count)
    return F.cross_entropy(similarity, partner)
