"""Learning rate and target momentum at some steps, computed by hand."""

from __future__ import annotations

import pytest

from orl_explorer.orl.schedules import learning_rate, scaled_rate, target_momentum


@pytest.mark.parametrize(("batch", "expected"), [(256, 0.2), (512, 0.4), (4096, 3.2), (32, 0.025)])
def test_the_rate_grows_with_the_batch(batch: int, expected: float) -> None:
    assert scaled_rate(0.2, batch) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.00004),  # 1e-4 of 0.4
        (5, 0.1987887),  # half-way up the ramp: 0.50005 of 0.4 * (1 + cos 0.05 pi) / 2
        (10, 0.3902113),  # 0.4 * (1 + cos 0.1 pi) / 2
        (25, 0.3414214),
        (50, 0.2),
        (75, 0.0585786),
        (100, 0.0),
    ],
)
def test_the_rate_ramps_up_and_follows_a_cosine_to_zero(step: int, expected: float) -> None:
    assert learning_rate(step, 100, 10, 0.4) == pytest.approx(expected, abs=1e-7)


def test_without_warm_up_the_rate_starts_at_its_peak() -> None:
    assert learning_rate(0, 100, 0, 0.4) == 0.4


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.99), (25, 0.9914644661), (50, 0.995), (75, 0.9985355339), (100, 1.0)]
)
def test_the_target_slows_down_from_0_99_to_a_standstill(step: int, expected: float) -> None:
    assert target_momentum(step, 100) == pytest.approx(expected, abs=1e-10)


def test_the_start_of_the_momentum_can_be_chosen() -> None:
    assert target_momentum(0, 10, start=0.9) == pytest.approx(0.9)
    assert target_momentum(5, 10, start=0.9) == pytest.approx(0.95)
