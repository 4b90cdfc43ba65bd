"""What the training loop knows of a method."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from torch import Tensor, nn

Terms: TypeAlias = dict[str, Tensor]  # weighted terms of the loss, by name; their sum is minimised


class Method(Protocol):
    """An ``nn.Module`` with a backbone to be kept, a projector, and a loss over named views.

    Calling it with views, each float [B, 3, S, S], returns the terms of the loss and the projections of one view, float
    [B, D], by which a collapse is seen.
    """

    architecture: str

    @property
    def backbone(self) -> nn.Module:
        """Image float [B, 3, S, S] -> map float [B, C, h, w]; what the run is for."""

    @property
    def projector(self) -> nn.Module:
        """Pooled map float [B, C] -> projection float [B, D]."""

    def forward(self, views: dict[str, Tensor]) -> tuple[Terms, Tensor]:
        """Terms of the loss, and projections."""

    def after_step(self, step: int, total: int) -> None:
        """What follows the optimiser's step number ``step`` (from 0) of ``total``: the target's own, or nothing."""
