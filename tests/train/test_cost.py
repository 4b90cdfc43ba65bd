"""What a run is said to cost before it is launched."""

from __future__ import annotations

import pytest

from db.models import Run
from db.runs import add_metrics, add_run
from train.config import PAPER, SMALL, with_settings
from train.cost import estimate, operations_per_image
from train.workspace import Workspace


def test_byol_costs_eight_forwards_an_image_and_orl_1_37_times_as_much() -> None:
    assert operations_per_image(PAPER, 1) == pytest.approx(8 * 8.18)
    assert operations_per_image(PAPER, 3) / operations_per_image(PAPER, 1) == pytest.approx(1.3673, abs=1e-4)


def test_a_branch_of_weight_0_costs_nothing() -> None:
    image_only = with_settings(PAPER, {"intra_weight": 0, "inter_weight": 0})
    assert operations_per_image(image_only, 3) == pytest.approx(operations_per_image(PAPER, 1))


def test_coco_at_the_papers_settings_is_184800_steps(workspace: Workspace) -> None:
    cost = estimate(workspace.store, PAPER, 3, 118_287)
    assert (cost.steps, cost.measured) == (184_800, False)


def test_the_speed_of_an_earlier_run_decides_the_time(workspace: Workspace) -> None:
    run = add_run(workspace.store, Run(kind="pretrain", name="a", params={"config": SMALL.model_dump()}))
    add_metrics(workspace.store, run.id, [(1, "images_per_second", 16.0)])
    cost = estimate(workspace.store, SMALL, 1, 160)
    assert (cost.steps, cost.measured) == (50, True)
    assert cost.seconds == pytest.approx(50 * 32 / 16.0)
