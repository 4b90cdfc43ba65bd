"""ORL: stage 3, object-level pre-training on corresponding RoIs (Sec. 3.3), over BYOL as in the paper, SimCLR or MoCo.

The base decides what the loss of two views is. All bases share the three branches, one backbone and one projector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl_explorer.orl.bootstrap import Bootstrap, project, symmetric_loss
from orl_explorer.orl.distributed import gather_rows
from orl_explorer.orl.heads import HIDDEN, PROJECTION, mlp
from orl_explorer.orl.method import Terms
from orl_explorer.orl.moco import MoCo, queue_loss
from orl_explorer.orl.simclr import SimCLR, contrastive_loss


@dataclass(frozen=True)
class Branch:
    """One of the three terms, and its two views, which go through the two pipelines of the base."""

    name: str
    first: str
    second: str


BRANCHES = (
    Branch("image", "image_1", "image_2"),  # v, v': two crops of the image
    Branch("intra", "roi", "roi_jittered"),  # p, p': a RoI and a box near it
    Branch("inter", "query_roi", "key_roi"),  # p1, p2: a pair of stage 2
)

Lambdas = tuple[float, float, float]  # lambda of image, intra and inter; a branch of weight 0 is skipped
EQUAL: Lambdas = (1.0, 1.0, 1.0)


def weighted(weights: Lambdas) -> dict[Branch, float]:
    """Return the weights of the branches that are not skipped."""
    return {branch: weight for branch, weight in zip(BRANCHES, weights, strict=True) if weight}


def views_of(branches: Mapping[Branch, float], views: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the views of some branches, in their order."""
    return {name: views[name] for branch in branches for name in (branch.first, branch.second)}


class ORL(Bootstrap):
    """ORL over BYOL: one predictor for each branch."""

    def __init__(
        self,
        architecture: str,
        hidden: int = HIDDEN,
        projection: int = PROJECTION,
        momentum: float = 0.99,
        weights: Lambdas = EQUAL,
    ) -> None:
        """Build both networks."""
        super().__init__(architecture, hidden, projection, momentum)
        self.branches = weighted(weights)
        self.predictors = nn.ModuleDict({b.name: mlp(projection, hidden, projection) for b in self.branches})

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return weighted terms, each the sum of two directions, about 4 at the start; projections of the first view.

        views: the two views of each active branch, of images [B, 3, S, S] and of RoIs [B, 3, P, P].
        """
        active = views_of(self.branches, views)
        online, target = self.both(active, active)
        terms: Terms = {}
        for branch, weight in self.branches.items():
            loss = symmetric_loss(self.predictors[branch.name], online, target, (branch.first, branch.second))
            terms[branch.name] = weight * loss
        return terms, online[next(iter(active))]


class ORLOverSimCLR(SimCLR):
    """ORL over SimCLR: the two views of a branch are partners, the branch's views of all other photos are negatives.

    Views of another branch are never negatives: the view of a photo's RoI is none of the photo's other RoIs.
    """

    def __init__(
        self,
        architecture: str,
        hidden: int = 2048,
        projection: int = 128,
        temperature: float = 0.1,
        weights: Lambdas = EQUAL,
    ) -> None:
        """Build the network."""
        super().__init__(architecture, hidden, projection, temperature)
        self.branches = weighted(weights)

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return weighted terms, each about log(2B - 1) at the start. views: as of ``ORL``."""
        active = views_of(self.branches, views)
        found = project(self.backbone, self.projector, active)
        terms: Terms = {}
        for branch, weight in self.branches.items():
            first, second = gather_rows(found[branch.first]), gather_rows(found[branch.second])
            terms[branch.name] = weight * contrastive_loss(first, second, self.temperature)
        return terms, found[next(iter(active))]


class ORLOverMoCo(MoCo):
    """ORL over MoCo: the first view of a branch is the query, the second its key, and each branch has its own queue.

    In a common queue, a query would be told from most keys by their scale alone, and the keys of a photo's other
    branches would be among its negatives.
    """

    def __init__(
        self,
        architecture: str,
        hidden: int = 2048,
        projection: int = 128,
        temperature: float = 0.2,
        queue: int = 65_536,
        momentum: float = 0.999,
        group: int = 32,
        weights: Lambdas = EQUAL,
    ) -> None:
        """Build both networks. queue: keys of each branch's queue."""
        super().__init__(architecture, hidden, projection, temperature, queue, momentum, group)
        self.branches = weighted(weights)
        self.queue = F.normalize(torch.randn(len(self.branches), queue, projection), dim=2)

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return weighted terms, each about log(K + 1) at the start. views: as of ``ORL``."""
        queries = [self.queries(views[branch.first]) for branch in self.branches]
        keys = [self.keys(views[branch.second]) for branch in self.branches]
        terms: Terms = {}
        for (branch, weight), query, key, queue in zip(self.branches.items(), queries, keys, self.queue, strict=True):
            terms[branch.name] = weight * queue_loss(query, key, queue, self.temperature)
        if self.training:
            self.enqueue(queue=torch.stack(keys))
        return terms, queries[0]
