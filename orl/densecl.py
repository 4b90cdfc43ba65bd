"""DenseCL: MoCo v2, and the same contrast for each cell of a map with its most similar cell (Table 4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from orl_explorer.orl.bootstrap import follow_slowly, frozen_copy
from orl_explorer.orl.cell_heads import as_cells, cell_cosines
from orl_explorer.orl.heads import mlp, pool
from orl_explorer.orl.method import Terms
from orl_explorer.orl.moco import MoCo, queue_loss


class DenseCL(MoCo):
    """MoCo with a second head on cells, and a second queue.

    The partner of a query's cell is the cell of the key's map whose feature, before the heads, is most similar. Where
    the two crops lie in the photo plays no part. The negatives of a cell are the means of earlier photos' dense keys.
    """

    dense_queue: Tensor  # [K, D], unit rows

    def __init__(
        self,
        architecture: str,
        hidden: int = 2048,
        projection: int = 128,
        temperature: float = 0.2,
        queue: int = 65_536,
        momentum: float = 0.999,
        group: int = 32,
        dense_weight: float = 0.5,
    ) -> None:
        """Build both networks. dense_weight: weight of the loss of cells; that of pooled features has the rest."""
        super().__init__(architecture, hidden, projection, temperature, queue, momentum, group)
        self.dense_weight = dense_weight
        self.dense_projector = mlp(self.features, hidden, projection, "moco")
        self.key_dense_projector = frozen_copy(self.dense_projector)
        self.register_buffer("dense_queue", F.normalize(torch.randn(queue, projection)))

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return two weighted terms, ``image`` and ``dense``, which are log(K + 1) together at the start, about."""
        maps = self.maps(self.backbone, views["image_1"])
        queries, dense_queries = self.projector(pool(maps)), self.dense_projector(as_cells(maps))
        with torch.no_grad():
            key_maps = self.key_maps(views["image_2"])
            keys = F.normalize(self.key_projector(pool(key_maps)).float())
            dense_keys = self.key_dense_projector(as_cells(key_maps)).float()
            nearest = cell_cosines(as_cells(maps), as_cells(key_maps)).argmax(2, keepdim=True)  # B N 1
            partners = F.normalize(dense_keys, dim=2).take_along_dim(nearest, 1)  # B N D
        image = queue_loss(queries, keys, self.queue, self.temperature)
        dense = queue_loss(dense_queries.flatten(0, 1), partners.flatten(0, 1), self.dense_queue, self.temperature)
        if self.training:
            self.enqueue(queue=keys, dense_queue=F.normalize(dense_keys.mean(1)))
        return {"image": (1 - self.dense_weight) * image, "dense": self.dense_weight * dense}, queries

    def after_step(self, step: int, total: int) -> None:
        """Update the slow network, its dense head too."""
        super().after_step(step, total)
        follow_slowly(self.key_dense_projector, self.dense_projector, self.momentum)

    def catch_up(self) -> None:
        """Make the network for keys equal to that for queries, its dense head too."""
        super().catch_up()
        self.key_dense_projector.load_state_dict(self.dense_projector.state_dict())
