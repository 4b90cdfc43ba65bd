"""Several batches in one forward pass, each normalised by itself.

One after another, small views and small groups would leave a device idle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm


def in_one_pass(network: nn.Module, batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Apply a network to several batches, float [B_i, …], as if it were called for each in turn.

    Each batch is normalised by its own statistics, and running statistics are updated in order. All modules but batch
    norms must process rows independently, as convolutions and linear layers do.
    """
    if len(batches) < 2:
        return tuple(map(network, batches))
    sizes = [len(batch) for batch in batches]
    with _normalised_apart(network, sizes):
        return network(torch.cat(list(batches))).split(sizes)


@contextmanager
def _normalised_apart(network: nn.Module, sizes: list[int]) -> Iterator[None]:
    norms = [module for module in network.modules() if isinstance(module, BatchNorm) and _uses_the_batch(module)]
    for norm in norms:  # an attribute of the instance hides the method of its class
        norm.__dict__["forward"] = partial(_each, norm, sizes)
    try:
        yield
    finally:
        for norm in norms:
            del norm.__dict__["forward"]


def _uses_the_batch(norm: BatchNorm) -> bool:
    return norm.training or norm.running_mean is None


def _each(norm: BatchNorm, sizes: list[int], rows: Tensor) -> Tensor:
    return torch.cat([type(norm).forward(norm, part) for part in rows.split(sizes)])
