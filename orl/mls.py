"""MLS: MoCo v2, and a classification of photos by the earlier photos that they resemble (Zhu et al., ICCV 2023)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from orl_explorer.orl.heads import pool
from orl_explorer.orl.method import Terms
from orl_explorer.orl.moco import MoCo, queue_loss


class MLS(MoCo):
    """MoCo with two dictionaries of earlier keys in the same order: their pooled features, and their projections.

    Each entry is a class of its own. Those whose features are nearest to the query's are its pseudo-labels; the
    projections classify the query's projection.
    """

    known_features: Tensor  # [D, C], unit rows
    known_projections: Tensor  # [D, P], unit rows

    def __init__(
        self,
        architecture: str,
        hidden: int = 2048,
        projection: int = 256,
        temperature: float = 0.2,
        queue: int = 65_536,
        momentum: float = 0.995,
        group: int = 32,
        dictionary: int = 4096,
        labels: int = 20,
        label_weight: float = 0.5,
    ) -> None:
        """Build both networks. dictionary: number of entries. labels: of a photo. label_weight: of their loss."""
        super().__init__(architecture, hidden, projection, temperature, queue, momentum, group)
        self.labels, self.label_weight = labels, label_weight
        self.register_buffer("known_features", F.normalize(torch.randn(dictionary, self.features)))
        self.register_buffer("known_projections", F.normalize(torch.randn(dictionary, projection)))

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return two terms: ``image``, near log(K + 1) at the start, and ``labels``, near log 2 times its weight."""
        features = pool(self.maps(self.backbone, views["image_1"]))
        queries = self.projector(features)
        with torch.no_grad():
            key_features = pool(self.key_maps(views["image_2"]))
            keys = F.normalize(self.key_projector(key_features).float())
        image = queue_loss(queries, keys, self.queue, self.temperature)
        labels = nearest_entries(features.detach(), self.known_features, self.labels)
        by_label = label_loss(queries, self.known_projections, labels, self.temperature)
        if self.training:
            known = F.normalize(key_features.float())
            self.enqueue(queue=keys, known_features=known, known_projections=keys)
        return {"image": image, "labels": self.label_weight * by_label}, queries


def nearest_entries(features: Tensor, entries: Tensor, count: int) -> Tensor:
    """Return 1 for the entries most similar to a row, 0 for the others: float [B, C], unit [D, C] -> float [B, D]."""
    with torch.autocast(features.device.type, enabled=False):
        cosines = F.normalize(features.to(entries.dtype)) @ entries.T
    return torch.zeros_like(cosines).scatter_(1, cosines.topk(count).indices, 1.0)


def label_loss(queries: Tensor, entries: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the mean binary cross-entropy of all rows and entries: float [B, P], unit [D, P], [B, D] -> scalar."""
    logits = F.normalize(queries.float()) @ entries.T / temperature  # B D
    return F.binary_cross_entropy_with_logits(logits.float(), labels)
