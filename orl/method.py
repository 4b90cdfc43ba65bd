"""What the training loop knows of a method, and what each method may have otherwise."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

Terms: TypeAlias = dict[str, Tensor]  # weighted terms of the loss, by name; their sum is minimised


class Method(nn.Module):
    """A network with a backbone to be kept, a projector, and a loss over named views.

    Calling it with views, each float [B, 3, S, S], returns the terms of the loss and the projections of one view, float
    [B, D], by which a collapse is seen.
    """

    architecture: str
    backbone: nn.Module  # image float [B, 3, S, S] -> map float [B, C, h, w]; what the run is for
    projector: nn.Module  # pooled map float [B, C] -> projection float [B, D]
    # Whether batch norms see the batches of all processes. Those of one process keep statistics of their own, of which
    # the first one's are kept.
    whole_batch_norms: ClassVar[bool] = True

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Terms of the loss, and projections."""
        raise NotImplementedError

    def optimiser(self, rate: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
        """What learns: SGD with momentum over all that has a gradient."""
        learned = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.SGD(learned, lr=rate, momentum=momentum, weight_decay=weight_decay)

    def after_step(self, step: int, total: int) -> None:
        """What follows the optimiser's step number ``step`` (from 0) of ``total``: a target's own, or nothing."""
