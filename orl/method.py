"""The interface between a method and the training loop: a network with a loss over views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, TypeAlias

import torch
from torch import Tensor, nn

from orl_explorer.orl.backbones import Statistics
from orl_explorer.orl.blocks import blocks_of, freeze, hold_still
from orl_explorer.orl.dense import statistics
from orl_explorer.orl.optimisers import optimiser_of
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
    keeps_projector: bool = True  # whether the encoder of the run has the projector, or pooled features alone
    published: ClassVar[str] = "sgd"  # kind of the published optimiser, see ``orl.optimisers``
    frozen: int = 0  # blocks that stay as they are, see ``orl.blocks``
    still_norms: bool = False  # whether all batch norms of the backbone stay as they are
    head_rate: float = 1.0  # factor of the learning rate of all that is not the backbone
    layer_decay: float = 1.0  # factor of the learning rate from each block to the one before it

    @abstractmethod
    def views(self, size: int) -> tuple[View, ...]:
        """Return the views of a whole photo. size: their side in pixels; small views have a size of their own."""

    @abstractmethod
    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Return the terms of the loss, and projections of one view, float [B, D], to detect a collapse.

        views: by name, each float [B, 3, S, S].
        """

    def optimiser(self, rate: float, momentum: float, decay: float, kind: str = "published") -> torch.optim.Optimizer:
        """Return an optimiser of what learns. kind: the ``published`` one, or one of ``optimiser_of``.

        The loop sets each group's rate at every step: that of the run times its ``scale``.
        """
        return optimiser_of(self.published if kind == "published" else kind, self.learned(), rate, momentum, decay)

    @property
    def statistics(self) -> Statistics:
        """Mean and standard deviation of RGB in [0, 1] that the views are normalised by."""
        return statistics(self.architecture, self.backbone)

    @property
    def backbones(self) -> tuple[nn.Module, ...]:
        """The backbone, and the slow network's if there is one."""
        return (self.backbone,)

    def adapt(
        self, frozen: int = 0, layer_decay: float = 1.0, still_norms: bool = False, head_rate: float = 1.0
    ) -> None:
        """Keep the first blocks as they are, and let the others learn more slowly the nearer they are to the input.

        still_norms: whether the batch norms of all blocks keep their weights and statistics. head_rate: factor of the
        rate of projector and predictors. Call before the optimiser is made. Raises ValueError if no block would learn.
        """
        freeze(self.backbone, frozen, still_norms)
        self.frozen, self.layer_decay, self.still_norms, self.head_rate = frozen, layer_decay, still_norms, head_rate

    def learned(self) -> list[dict[str, Any]]:
        """Return the learned parameters in groups of one rate; the last block learns at the rate of the run."""
        learned = [p for p in self.parameters() if p.requires_grad]
        if self.layer_decay == 1 and self.head_rate == 1:
            return [{"params": learned}]
        blocks = blocks_of(self.backbone)
        below = {
            id(self.backbone.get_parameter(name)): count
            for count, block in enumerate(reversed(blocks))
            for name in block
        }
        groups: dict[float, list[Tensor]] = {}
        for parameter in learned:
            count = below.get(id(parameter))
            scale = self.head_rate if count is None else self.layer_decay**count
            groups.setdefault(scale, []).append(parameter)
        return [{"params": some, "scale": scale} for scale, some in sorted(groups.items(), reverse=True)]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules. What stays as it is stays in eval mode."""
        super().train(mode)
        for backbone in self.backbones if self.frozen or self.still_norms else ():
            hold_still(backbone, self.frozen, self.still_norms)
        return self

    def slow_momentum(self, step: int, total: int) -> float | None:
        """Return the momentum of the slow network after step ``step`` (from 0) of ``total``. None: there is none."""
        return None

    def after_step(self, step: int, total: int) -> None:
        """Update a slow network, if any, after the optimiser's step number ``step`` (from 0) of ``total``."""

    def catch_up(self) -> None:
        """Make a slow network equal to the fast one, statistics included, after new weights were loaded into that."""
