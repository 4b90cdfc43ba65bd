"""ORL: stage 3, object-level pre-training on corresponding RoIs (Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from orl.bootstrap import Bootstrap
from orl.heads import HIDDEN, PROJECTION, mlp


@dataclass(frozen=True)
class Branch:
    """One of the three terms: its two views and the view pipeline (1 or 2) that each goes through."""

    name: str
    first: str
    second: str


BRANCHES = (
    Branch("image", "image_1", "image_2"),  # v, v': two crops of the image
    Branch("intra", "roi", "roi_jittered"),  # p, p': a RoI and a box near it
    Branch("inter", "query_roi", "key_roi"),  # p1, p2: a pair of stage 2
)


class ORL(Bootstrap):
    """One backbone and projector for all views, one predictor for each branch."""

    def __init__(
        self,
        architecture: str,
        hidden: int = HIDDEN,
        projection: int = PROJECTION,
        weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """weights: lambda of image, intra and inter; a branch of weight 0 costs nothing and draws no view."""
        super().__init__(architecture, hidden, projection)
        self.weights = dict(zip((b.name for b in BRANCHES), weights, strict=True))
        self.predictors = nn.ModuleDict({b.name: mlp(projection, hidden, projection) for b in BRANCHES})

    def losses(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weighted terms of the loss, each the sum of two directions; about 4 each at the start.

        views: of each active branch its two, float [B, 3, S, S] for images and [B, 3, P, P] for RoIs.
        """
        return {
            branch.name: self.weights[branch.name]
            * self.symmetric_loss(self.predictors[branch.name], views[branch.first], views[branch.second])
            for branch in BRANCHES
            if self.weights[branch.name]
        }
