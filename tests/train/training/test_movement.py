"""How far a training has come: the change of its weights, and the renewals of its slow network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.simclr import SimCLR
from orl_explorer.train.training.methods import BYOLConfig, SimCLRConfig
from orl_explorer.train.training.movement import Movement


def test_the_change_is_a_share_of_the_norm_of_what_learns(stop_after: Callable) -> None:
    method = SimCLR("resnet18", 8, 8)
    method.adapt(frozen=4)  # of stem and four stages: only the last stage learns
    measure = Movement(method, SimCLRConfig(epochs=2), stop_after())
    assert measure(method, 1, 3, saved=True) == {"weights_moved": 0.0}
    with torch.no_grad():
        for weight in method.backbone.parameters():
            weight.mul_(1.25)
    assert measure(method, 2, 6, saved=True) == {"weights_moved": pytest.approx(0.25)}


def test_the_renewals_are_the_sum_of_one_minus_the_momentum(stop_after: Callable) -> None:
    method = BYOL("resnet18", 8, 8)
    measure = Movement(method, BYOLConfig(epochs=2), stop_after())
    # Four steps in all: cos is 1, √½, 0, -√½, so 1 - momentum is 0.01, 0.01 · 0.854, 0.005, 0.01 · 0.146.
    assert measure(method, 1, 2, saved=True)["target_renewals"] == pytest.approx(0.01 + 0.0085355, abs=1e-7)
    assert measure(method, 2, 4, saved=True)["target_renewals"] == pytest.approx(
        0.01 + 0.0085355 + 0.005 + 0.0014645, abs=1e-7
    )


@pytest.mark.parametrize(("moved", "start_from", "said"), [(0.099, "", 1), (0.1, "", 0), (0.01, "starter", 0)])
def test_the_log_ends_with_a_word_on_a_training_that_changed_little(
    moved: float, start_from: str, said: int, stop_after: Callable
) -> None:
    method, heard = SimCLR("resnet18", 8, 8), stop_after()
    measure = Movement(method, SimCLRConfig(epochs=2, start_from=start_from), heard)
    with torch.no_grad():
        for weight in method.backbone.parameters():
            weight.mul_(1 + moved + 1e-5)
    measure(method, 1, 3, saved=True)
    assert heard.lines == []
    measure(method, 2, 6, saved=True)
    assert len(heard.lines) == said
