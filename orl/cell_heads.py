"""Heads on the cells of a map instead of on their mean, and the cosines of the cells of two maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orl_explorer.orl.grouped_norm import in_one_pass


def as_cells(feature_map: Tensor) -> Tensor:
    """Return the cells of a map, row by row: float [B, C, h, w] -> float [B, h · w, C]."""
    return feature_map.flatten(2).transpose(1, 2)


def at_each_cell(head: nn.Module, batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Apply a head to every cell, as 1 × 1 convolutions do: float [B_i, N_i, C] of each batch -> float [B_i, N_i, D].

    Each batch is normalised by the statistics of all its cells.
    """
    rows = in_one_pass(head, [batch.flatten(0, 1) for batch in batches])
    return tuple(some.unflatten(0, batch.shape[:2]) for some, batch in zip(rows, batches, strict=True))


def cell_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each cell of a map with each of another: float [B, N, C] and [B, M, C] -> [B, N, M].

    They are at least float32, even in mixed precision.
    """
    with torch.autocast(first.device.type, enabled=False):
        if first.dtype in (torch.float16, torch.bfloat16):
            first, second = first.float(), second.float()
        return F.normalize(first, dim=2) @ F.normalize(second, dim=2).transpose(1, 2)
