"""Learning a linear projector: ORL over SimCLR with inter-RoI pairs alone, for an encoder that stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from orl_explorer.orl.heads import LinearProjector
from orl_explorer.orl.simclr import contrastive_loss


def learn_projector(
    mean: Tensor,
    pairs: Iterable[tuple[Tensor, Tensor]],
    learning_rate: float,
    temperature: float,
    after_step: Callable[[float], object] = lambda loss: None,
) -> LinearProjector:
    """Return the projector that brings the RoIs of pairs together, by Adam.

    mean: float [C], of the unit features of many RoIs. It is subtracted first: the projector starts as x -> x - mean.
    pairs: the unit features of the query and key RoIs of each step, float [B, C] twice, one pair of each photo: the
    RoIs of the other pairs are the negatives (``orl.simclr.contrastive_loss``). after_step: called with each loss.
    """
    width = len(mean)
    weight = torch.eye(width, requires_grad=True)
    adam = torch.optim.Adam([weight], lr=learning_rate)
    for query, key in pairs:
        loss = contrastive_loss((query - mean) @ weight.T, (key - mean) @ weight.T, temperature)
        adam.zero_grad()
        loss.backward()
        adam.step()
        after_step(float(loss.detach()))
    made = LinearProjector(width, width)
    with torch.no_grad():
        made.linear.weight.copy_(weight)
        made.linear.bias.copy_(-weight @ mean)
    return made.requires_grad_(False)
