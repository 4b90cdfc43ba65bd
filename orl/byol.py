"""BYOL: stage 1, image-level pre-training (Sec. 3.1)."""

from __future__ import annotations

from torch import Tensor

from orl_explorer.orl.bootstrap import IMAGES, Bootstrap, symmetric_loss
from orl_explorer.orl.heads import HIDDEN, PROJECTION, mlp
from orl_explorer.orl.method import Terms


class BYOL(Bootstrap):
    """BYOL: one predictor, two views of each image."""

    def __init__(
        self, architecture: str, hidden: int = HIDDEN, projection: int = PROJECTION, momentum: float = 0.99
    ) -> None:
        super().__init__(architecture, hidden, projection, momentum)
        self.predictor = mlp(projection, hidden, projection)

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return one term of the loss, ``image``. views: image_1, image_2."""
        online, target = self.both({name: views[name] for name in IMAGES}, IMAGES)
        return {"image": symmetric_loss(self.predictor, online, target, IMAGES)}, online["image_1"]
