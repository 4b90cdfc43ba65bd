"""LARS, the optimiser of SimCLR: SGD whose rate is scaled for each layer (You et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

TRUST = 0.001


class LARS(torch.optim.Optimizer):
    """Per layer: d = gradient + decay · weight; step = rate · trust · |weight| / |d| · d, through momentum.

    Groups with ``adapt=False`` are plain SGD with momentum. The momentum's sum includes the rate, as in SimCLR's code.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], lr: float, momentum: float = 0.9, weight_decay: float = 1e-6
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "adapt": True}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights from the current gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, group)

    def _step(self, weight: Tensor, group: dict[str, Any]) -> None:
        change = weight.grad.add(weight, alpha=group["weight_decay"])  # type: ignore[union-attr]
        if group["adapt"]:
            size, slope = weight.norm(), change.norm()
            scale = torch.where((size > 0) & (slope > 0), TRUST * size / slope, torch.ones_like(size))
            change *= scale
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].mul_(group["momentum"]).add_(change, alpha=group["lr"])
        weight.sub_(state["momentum"])


def layer_groups(learned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Divide each group of parameters in two: weights of layers, adapted and decayed; biases and norms, neither."""
    weights = [group | {"params": [p for p in group["params"] if p.ndim > 1]} for group in learned]
    others = [
        group | {"params": [p for p in group["params"] if p.ndim <= 1], "weight_decay": 0.0, "adapt": False}
        for group in learned
    ]
    return [*weights, *others]
