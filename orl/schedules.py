"""Learning rate and target momentum as functions of the step."""

from __future__ import annotations

import math

WARMUP_START = 1e-4  # of the rate


def scaled_rate(rate_per_256: float, batch_size: int) -> float:
    """Return the rate by the linear scaling rule: 0.2 per 256 images is 0.4 at a batch of 512."""
    return rate_per_256 * batch_size / 256


def learning_rate(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """Return the rate at a step: a cosine from ``peak`` to 0, with a linear ramp from 1e-4 of it in the warm-up."""
    rate = peak * 0.5 * (1 + math.cos(math.pi * step / total_steps))
    if step < warmup_steps:
        rate *= 1 - (1 - step / warmup_steps) * (1 - WARMUP_START)
    return rate


def target_momentum(step: int, total_steps: int, start: float = 0.99) -> float:
    """Return tau = 1 - (1 - start) (cos(pi k / T) + 1) / 2, which rises from ``start`` to 1."""
    return 1 - (1 - start) * (math.cos(math.pi * step / total_steps) + 1) / 2
