"""BYOL: stage 1, image-level pre-training (Sec. 3.1)."""

from __future__ import annotations

from torch import Tensor

from orl.bootstrap import Bootstrap, symmetric_loss
from orl.heads import HIDDEN, PROJECTION, mlp
from orl.method import Terms
from orl.views import PIPELINES, View


def views(size: int) -> tuple[View, ...]:
    """Two crops of the image, one through each pipeline."""
    return tuple(View(f"image_{i}", pipeline, size) for i, pipeline in enumerate(PIPELINES, 1))


class BYOL(Bootstrap):
    """One predictor; two views of each image."""

    def __init__(
        self, architecture: str, hidden: int = HIDDEN, projection: int = PROJECTION, momentum: float = 0.99
    ) -> None:
        super().__init__(architecture, hidden, projection, momentum)
        self.predictor = mlp(projection, hidden, projection, init="normal")

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """views: image_1, image_2. One term, ``image``."""
        pair = [views["image_1"], views["image_2"]]
        online, target = [self.online(view) for view in pair], [self.target(view) for view in pair]
        return {"image": symmetric_loss(self.predictor, online, target)}, online[0]
