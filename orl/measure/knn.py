"""Classification by k nearest neighbours: measures how well features separate categories, without training."""

from __future__ import annotations

import torch
from torch import Tensor


def knn_predict(bank: Tensor, labels: Tensor, queries: Tensor, k: int = 20, temperature: float = 0.07) -> Tensor:
    """Return the category of each query by the votes of its k nearest, weighted exp(cosine / temperature) (Wu 2018).

    bank: float [N, D], queries: float [Q, D], unit rows. labels: int64 [N]. Returns int64 [Q]; the lowest of equals.
    """
    similarity, nearest = (queries @ bank.T).topk(min(k, len(bank)), dim=1)  # Q k
    votes = torch.zeros(len(queries), int(labels.max()) + 1, device=queries.device)
    # Scaled so that the largest weight of a query is 1: no temperature underflows.
    weights = ((similarity - similarity[:, :1]) / temperature).exp()
    return votes.scatter_add_(1, labels[nearest], weights).argmax(1)
