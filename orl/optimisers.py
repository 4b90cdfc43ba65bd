"""The optimisers that any method can be trained by."""

from __future__ import annotations

from typing import Any

import torch

from orl_explorer.orl.lars import LARS, layer_groups

SECOND = 0.999  # momentum of AdamW's squared gradients


def optimiser_of(
    kind: str, groups: list[dict[str, Any]], rate: float, momentum: float, decay: float
) -> torch.optim.Optimizer:
    """Return an optimiser of groups of parameters. kind: ``sgd``, ``lars`` or ``adamw``.

    SGD decays every parameter. LARS and AdamW (Loshchilov and Hutter, 2019) leave out biases and norms.
    """
    match kind:
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, weight_decay=decay)
        case "lars":
            return LARS(layer_groups(groups), rate, momentum, decay)
        case "adamw":
            divided = [{k: v for k, v in group.items() if k != "adapt"} for group in layer_groups(groups)]
            return torch.optim.AdamW(divided, lr=rate, betas=(momentum, SECOND), weight_decay=decay)
    raise ValueError(f"There is no optimiser '{kind}'.")
