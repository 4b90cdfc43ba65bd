"""After Self-EMD: BYOL, and its loss between maps whose cells are matched by optimal transport (Table 4).

Self-EMD (Liu, Li, Sun: arXiv 2011.13677) has no public code. docs/method.md lists what is chosen here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from orl_explorer.orl.bootstrap import IMAGES, follow_slowly, frozen_copy, maps_of, pooled_projections, symmetric_loss
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.cell_heads import as_cells, at_each_cell, cell_cosines
from orl_explorer.orl.heads import HIDDEN, PROJECTION, mlp
from orl_explorer.orl.method import Terms

EPSILON = 0.1  # of the entropy: the smaller, the fewer cells share the mass of one
ROUNDS = 50  # of Sinkhorn's algorithm
LEAST = 1e-3  # mass of a cell that is unlike the other map, before the masses are scaled to the sum 1


class SelfEMD(BYOL):
    """BYOL with a second projector and predictor, for cells.

    Each cell of the prediction is compared with the target's cells that the transport plan matches with it. The plan
    and the masses have no gradient.
    """

    def __init__(
        self,
        architecture: str,
        hidden: int = HIDDEN,
        projection: int = PROJECTION,
        momentum: float = 0.99,
        dense_weight: float = 0.5,
    ) -> None:
        """Build both networks. dense_weight: weight of the loss of cells; that of pooled features has the rest."""
        super().__init__(architecture, hidden, projection, momentum)
        self.dense_weight = dense_weight
        self.dense_projector = mlp(self.features, hidden, projection)
        self.target_dense_projector = frozen_copy(self.dense_projector)
        self.dense_predictor = mlp(projection, hidden, projection)

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return two weighted terms, ``image`` and ``dense``, about 4 in all at the start. views: image_1, image_2."""
        images = {name: views[name] for name in IMAGES}
        maps = maps_of(self.backbone, images)
        online = pooled_projections(self.projector, maps)
        projected = at_each_cell(self.dense_projector, [*map(as_cells, maps.values())])
        predicted = at_each_cell(self.dense_predictor, projected)
        with torch.no_grad():
            goals = maps_of(self.target_backbone, images)
            target = pooled_projections(self.target_projector, goals)
            aims = at_each_cell(self.target_dense_projector, [*map(as_cells, goals.values())])
        image = symmetric_loss(self.predictor, online, target, IMAGES)
        dense = transport_loss(predicted[0], aims[1]) + transport_loss(predicted[1], aims[0])
        return {"image": (1 - self.dense_weight) * image, "dense": self.dense_weight * dense}, online[IMAGES[0]]

    def after_step(self, step: int, total: int) -> None:
        """Update the target, its head for cells too."""
        super().after_step(step, total)
        follow_slowly(self.target_dense_projector, self.dense_projector, self.slow_momentum(step, total))

    def catch_up(self) -> None:
        """Make the target equal to the online network, its head for cells too."""
        super().catch_up()
        self.target_dense_projector.load_state_dict(self.dense_projector.state_dict())


def transport_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 2 - 2 cos of each two cells, weighted by the plan: float [B, N, D] and [B, M, D] -> scalar.

    The mass of a cell is its mean cosine with the cells of the other map, if that is positive.
    """
    alike = cell_cosines(prediction, target)  # B N M
    with torch.no_grad():
        plan = transport_plan(1 - alike, _masses(alike.mean(2)), _masses(alike.mean(1)))
    return (2 - 2 * (plan * alike).sum((1, 2))).mean()


def _masses(likeness: Tensor) -> Tensor:
    return F.normalize(likeness.relu() + LEAST, p=1, dim=1)


def transport_plan(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the plan that moves the masses of rows to columns at little cost (Cuturi, 2013), by logarithms.

    cost: float [B, N, M]. rows, columns: float [B, N] and [B, M], positive, each with the sum 1. Returns float
    [B, N, M]: its sums over rows are the masses of columns, and those over columns nearly the masses of rows.
    """
    kernel = -cost / EPSILON
    by_row, by_column = torch.zeros_like(rows), torch.zeros_like(columns)
    for _ in range(ROUNDS):
        by_row = rows.log() - (kernel + by_column[:, None, :]).logsumexp(2)
        by_column = columns.log() - (kernel + by_row[:, :, None]).logsumexp(1)
    return (kernel + by_row[:, :, None] + by_column[:, None, :]).exp()
