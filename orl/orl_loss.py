"""ORL: stage 3, object-level pre-training on corresponding RoIs (Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from orl_explorer.orl.bootstrap import Bootstrap, symmetric_loss
from orl_explorer.orl.heads import HIDDEN, PROJECTION, mlp
from orl_explorer.orl.method import Terms


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
    """ORL: one backbone and projector for all views, one predictor for each branch."""

    def __init__(
        self,
        architecture: str,
        hidden: int = HIDDEN,
        projection: int = PROJECTION,
        momentum: float = 0.99,
        weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Build both networks. weights: lambda of image, intra and inter; a branch of weight 0 is skipped."""
        super().__init__(architecture, hidden, projection, momentum)
        self.weights = {b.name: w for b, w in zip(BRANCHES, weights, strict=True) if w}
        self.branches = [b for b in BRANCHES if b.name in self.weights]
        self.predictors = nn.ModuleDict({name: mlp(projection, hidden, projection) for name in self.weights})

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return weighted terms, each the sum of two directions, about 4 at the start; projections of the first view.

        views: the two views of each active branch, of images [B, 3, S, S] and of RoIs [B, 3, P, P].
        """
        names = [name for branch in self.branches for name in (branch.first, branch.second)]
        active = {name: views[name] for name in names}
        online, target = self.online(active), self.target(active)
        terms: Terms = {}
        for branch in self.branches:
            loss = symmetric_loss(self.predictors[branch.name], online, target, (branch.first, branch.second))
            terms[branch.name] = self.weights[branch.name] * loss
        return terms, online[names[0]]
