"""When a training goes wrong without stopping. Free of torch: the explorer asks the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

COLLAPSED = 0.05  # spread of the projections; an untrained network has ten times that
STEPS = 50  # in a row


def collapsed(spreads: Sequence[float]) -> bool:
    """Whether the newest values of ``feature_spread`` say that all photos have nearly the same feature."""
    return len(spreads) >= STEPS and max(spreads[-STEPS:]) < COLLAPSED


class Collapse:
    """Follows a run and speaks once for each collapse."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=STEPS)
        self._told = False

    def seen(self, spread: float) -> str:
        """What to say after a step, mostly nothing."""
        self._newest.append(spread)
        now, before = collapsed(list(self._newest)), self._told
        self._told = now
        return COLLAPSE if now and not before else ""


COLLAPSE = (
    f"Alarm: the features have collapsed; for {STEPS} steps all photos have had nearly the same projection "
    f"(feature_spread below {COLLAPSED}). Stop, and try a lower learning rate or a larger batch."
)
