"""Signs that a training fails, or was too short. This module does not import torch, because the explorer uses it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

COLLAPSED = 0.05  # spread of the projections; that of an untrained network is ten times larger
STEPS = 50  # in a row
LITTLE = 0.1  # change of the backbone's weights, as a share of their norm
FEW = 27_000  # photos seen when SimCLR, the fastest method, had learned something; docs/results.md has the table


def collapsed(spreads: Sequence[float]) -> bool:
    """Whether the newest values of ``feature_spread`` show that all photos have nearly the same feature."""
    return len(spreads) >= STEPS and max(spreads[-STEPS:]) < COLLAPSED


class Collapse:
    """A monitor of one run that reports each collapse once."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=STEPS)
        self._told = False

    def seen(self, spread: float) -> str:
        """Return the alarm to log after a step, or ""."""
        self._newest.append(spread)
        now, before = collapsed(list(self._newest)), self._told
        self._told = now
        return COLLAPSE if now and not before else ""


def too_short(settings: Mapping[str, Any], moved: float) -> str:
    """Return what to say of a training from random weights that has hardly changed them, or "".

    settings: of the training. moved: ``weights_moved`` at its end.
    """
    if settings.get("start_from") or moved >= LITTLE:
        return ""
    stage_3 = settings["method"] == "orl"
    slow = (settings.get("base", "byol") if stage_3 else settings["method"]) != "simclr"
    instead = ", and ORL can learn by its loss (base=simclr)" if stage_3 else ""
    faster = f" SimCLR learns faster{instead}." if slow else ""
    return (
        f"This training was too short: the weights of the backbone changed by {moved:.1%} of their norm. Its encoder "
        f"is little better than random weights. Train for more epochs, or start from a good encoder.{faster}"
    )


def too_few(start_from: str, seen: int) -> str:
    """Return what to say before the launch of a training that will see so many photos, or "" if they may be enough."""
    if start_from or seen >= FEW:
        return ""
    return (
        f"Probably too short: its epochs show {seen:,} photos in all. From random weights, SimCLR had learned "
        f"something after {FEW:,}, and the other methods need more. Train for more epochs, or adapt a good encoder."
    )


COLLAPSE = (
    f"Alarm: the features have collapsed. For {STEPS} steps, all photos have had nearly the same projection "
    f"(feature_spread below {COLLAPSED}). Stop the run, and try a lower learning rate or a larger batch."
)
