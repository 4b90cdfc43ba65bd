"""RankMe: how many directions features use (Garrido et al., 2023, Eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(features: Tensor) -> float:
    """Return RankMe of features, float [n, C]: from 1, if all are parallel, to min(n, C).

    It is the exponential of the entropy of the singular values, divided by their sum. The features are not centred.
    """
    values = torch.linalg.svdvals(features.double())
    shares = values / values.sum().clamp_min(1e-300)
    return float(torch.special.entr(shares).sum().exp())
