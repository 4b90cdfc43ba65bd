"""Several batches in one pass, each normalised by itself.

Small views and small groups keep no device busy one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm


def in_one_pass(network: nn.Module, batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What the network makes of each batch, float [B_i, …]: as if it were called for one after the other.

    Statistics are those of each batch, and running ones take them up in order. All but the batch norms must treat every
    row for itself, as convolutions and linear layers do.
    """
    if len(batches) < 2:
        return tuple(map(network, batches))
    sizes = [len(batch) for batch in batches]
    with _normalised_apart(network, sizes):
        return network(torch.cat(list(batches))).split(sizes)


@contextmanager
def _normalised_apart(network: nn.Module, sizes: list[int]) -> Iterator[None]:
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for norm in norms:  # an attribute of the instance goes before the method of its class
        norm.__dict__["forward"] = partial(_each, norm, sizes)
    try:
        yield
    finally:
        for norm in norms:
            del norm.__dict__["forward"]


def _each(norm: BatchNorm, sizes: list[int], rows: Tensor) -> Tensor:
    return torch.cat([type(norm).forward(norm, part) for part in rows.split(sizes)])
