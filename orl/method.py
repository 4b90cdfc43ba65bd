"""What a method is to the training loop: a network with a loss over views, and what else is its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from orl_explorer.orl.views import View

Terms: TypeAlias = dict[str, Tensor]  # weighted terms of the loss, by name; their sum is minimised


class Method(nn.Module, ABC):
    """A backbone to be kept, a projector, and a loss over named views.

    A method says what its views and its loss are, and overrides whatever else it does otherwise.
    """

    architecture: str
    backbone: nn.Module  # image float [B, 3, S, S] -> map float [B, C, h, w]; what the run is for
    projector: nn.Module  # pooled map float [B, C] -> projection float [B, D]
    # Whether batch norms see the batches of all processes. If not, each sees its own, and the first one's statistics
    # are kept.
    synchronised: ClassVar[bool] = True

    @abstractmethod
    def views(self, size: int) -> tuple[View, ...]:
        """The views of a whole photo that it takes; size: their side in pixels, that of small ones is its own."""

    @abstractmethod
    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Terms of the loss, and projections of one view, float [B, D], by which a collapse is seen.

        views: by name, each float [B, 3, S, S].
        """

    def optimiser(self, rate: float, momentum: float, decay: float) -> torch.optim.Optimizer:
        """What learns; the loop sets the rate of all its groups at every step."""
        learned = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.SGD(learned, lr=rate, momentum=momentum, weight_decay=decay)

    def after_step(self, step: int, total: int) -> None:
        """What follows the optimiser's step number ``step`` (from 0) of ``total``: a slow network's own, or nothing."""

    def catch_up(self) -> None:
        """Make a slow network equal to the fast one, statistics too: other weights have been put into that."""
