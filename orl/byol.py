"""BYOL: stage 1, image-level pre-training (Sec. 3.1)."""

from __future__ import annotations

from torch import Tensor

from orl.bootstrap import Bootstrap
from orl.heads import HIDDEN, PROJECTION, mlp

VIEWS = ("image_1", "image_2")


class BYOL(Bootstrap):
    """One predictor; two views of each image."""

    def __init__(self, architecture: str, hidden: int = HIDDEN, projection: int = PROJECTION) -> None:
        super().__init__(architecture, hidden, projection)
        self.predictor = mlp(projection, hidden, projection, init="normal")

    def losses(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """views: image_1, image_2, each float [B, 3, S, S]. Returns the one term ``image``."""
        return {"image": self.symmetric_loss(self.predictor, views["image_1"], views["image_2"])}
