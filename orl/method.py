"""The interface between a method and the training loop: a network with a loss over views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from orl_explorer.orl.views import View

Terms: TypeAlias = dict[str, Tensor]  # weighted terms of the loss, by name; their sum is minimised


class Method(nn.Module, ABC):
    """A backbone that the run saves, a projector, and a loss over named views.

    A method defines its views and its loss, and overrides the optimiser and the hooks if it needs to.
    """

    architecture: str
    backbone: nn.Module  # image float [B, 3, S, S] -> map float [B, C, h, w]; the result of the run
    projector: nn.Module  # pooled map float [B, C] -> projection float [B, D]
    # Whether batch norms use the batches of all processes. If not, each process uses its own, and the statistics of the
    # first are saved.
    synchronised: ClassVar[bool] = True

    @abstractmethod
    def views(self, size: int) -> tuple[View, ...]:
        """Return the views of a whole photo. size: their side in pixels; small views have a size of their own."""

    @abstractmethod
    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return the terms of the loss, and projections of one view, float [B, D], to detect a collapse.

        views: by name, each float [B, 3, S, S].
        """

    def optimiser(self, rate: float, momentum: float, decay: float) -> torch.optim.Optimizer:
        """Return the optimiser. The loop sets the rate of all its groups at every step."""
        learned = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.SGD(learned, lr=rate, momentum=momentum, weight_decay=decay)

    def after_step(self, step: int, total: int) -> None:
        """Update a slow network, if any, after the optimiser's step number ``step`` (from 0) of ``total``."""

    def catch_up(self) -> None:
        """Make a slow network equal to the fast one, statistics included, after new weights were loaded into that."""
