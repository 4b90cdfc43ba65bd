"""The estimated cost of a run before it is launched."""

from __future__ import annotations

import pytest

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import add_metrics, add_run
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.cost import estimate, operations_per_image
from orl_explorer.train.training.presets import PRESETS
from orl_explorer.train.workspace import Workspace

SMALL = PRESETS["byol"]["small"]


def test_byol_costs_eight_forwards_an_image_and_orl_1_37_times_as_much() -> None:
    costs = {method: operations_per_image(presets["paper"]) / 8.18 for method, presets in PRESETS.items()}
    assert costs["byol"] == costs["selfemd"] == pytest.approx(8)
    assert costs["simclr"] == pytest.approx(6)
    assert costs["moco"] == costs["densecl"] == costs["mls"] == pytest.approx(4)
    assert costs["multicrop"] == pytest.approx(8 + 4 * 3 * (96 / 224) ** 2)
    assert costs["orl"] / costs["byol"] == pytest.approx(1.3673, abs=1e-4)


def test_a_branch_of_weight_0_costs_nothing() -> None:
    image_only = with_settings(PRESETS["orl"]["paper"], {"intra_weight": 0, "inter_weight": 0})
    assert operations_per_image(image_only) == pytest.approx(8 * 8.18)


def test_each_branch_costs_what_its_base_does() -> None:
    for base, ratio in (("byol", 1), ("simclr", 6 / 8), ("moco", 4 / 8)):
        over = with_settings(PRESETS["orl"]["paper"], {"base": base})
        assert operations_per_image(over) / operations_per_image(PRESETS["orl"]["paper"]) == pytest.approx(ratio)
        assert over.slow_network == (base != "simclr")


def test_a_checkpoint_is_what_learns_its_momentum_and_a_slow_network_if_there_is_one(workspace: Workspace) -> None:
    sizes = {m: estimate(workspace.store, p["paper"], 1000).checkpoint_bytes for m, p in PRESETS.items()}
    two, three = 188_000_000, 282_000_000  # of 23.5 million parameters, four bytes each
    assert sizes == dict.fromkeys(PRESETS, three) | {"simclr": two}


@pytest.mark.parametrize(
    ("method", "learning", "slow"),
    [
        ("byol", [224, 224], [224, 224]),
        ("multicrop", [224, 224, 96, 96, 96, 96], [224, 224]),
        ("simclr", [224, 224], []),
        ("moco", [224], [224]),
        ("densecl", [224], [224]),
        ("mls", [224], [224]),
        ("selfemd", [224, 224], [224, 224]),
        ("orl", [224, 224, 96, 96, 96, 96], [224, 224, 96, 96, 96, 96]),
    ],
)
def test_sides_of_the_views_that_each_network_sees(method: str, learning: list[int], slow: list[int]) -> None:
    passes = PRESETS[method]["paper"].passes
    assert [p.side for p in passes for _ in range(p.learned)] == learning
    assert [p.side for p in passes for _ in range(p.followed)] == slow


def test_a_network_of_timm_is_counted_and_frozen_blocks_have_no_backward_pass() -> None:
    vit = with_settings(PRESETS["byol"]["paper"], {"backbone": "timm:vit_tiny_patch16_224"})
    tokens, width = 197, 192
    of_block = 2 * tokens * width * (4 * width + 8 * width) + 4 * tokens**2 * width  # linear layers, then attention
    stem = 2 * 196 * 16 * 16 * 3 * width
    forward = (stem + 12 * of_block) / 1e9
    assert operations_per_image(vit) == pytest.approx(8 * forward)
    frozen = vit.model_copy(update={"start_from": "vit", "freeze": 11})  # the stem and ten blocks
    assert operations_per_image(frozen) == pytest.approx(4 * forward + 2 * 2 * 2 * of_block / 1e9)
    resnet = with_settings(PRESETS["byol"]["paper"], {"backbone": "timm:resnet50"})
    assert operations_per_image(resnet) == pytest.approx(8 * 8.18, rel=1e-3)


def test_networks_that_share_frozen_blocks_pass_them_once() -> None:
    resnet = with_settings(PRESETS["byol"]["paper"], {"backbone": "resnet18", "image_size": 64})
    frozen = resnet.model_copy(update={"start_from": "some", "freeze": 3})
    forward, last_two = 0.2962, 0.1342  # 10^9 operations of 64 pixels: of all blocks, of layer3 and layer4
    assert operations_per_image(frozen) == pytest.approx(2 * (forward + 2 * last_two + last_two), rel=1e-3)
    moco = with_settings(PRESETS["moco"]["paper"], {"backbone": "resnet18", "image_size": 64})
    frozen = moco.model_copy(update={"start_from": "some", "freeze": 3})  # its two networks see different views
    assert operations_per_image(frozen) == pytest.approx(forward + 2 * last_two + forward, rel=1e-3)


def test_a_checkpoint_has_no_momentum_of_frozen_blocks(workspace: Workspace) -> None:
    vit = with_settings(PRESETS["byol"]["paper"], {"backbone": "timm:vit_tiny_patch16_224"})
    every, last_two = 5_524_416, 2 * 444_864 + 384  # parameters; the last norm belongs to the last block
    assert estimate(workspace.store, vit, 1000).checkpoint_bytes == 4 * 3 * every
    frozen = vit.model_copy(update={"start_from": "vit", "freeze": 11})
    assert estimate(workspace.store, frozen, 1000).checkpoint_bytes == 4 * (2 * every + last_two)


def test_coco_at_the_papers_settings_is_184800_steps(workspace: Workspace) -> None:
    cost = estimate(workspace.store, PRESETS["orl"]["paper"], 118_287)
    assert (cost.steps, cost.measured) == (184_800, False)


def test_the_speed_of_an_earlier_run_decides_the_time(workspace: Workspace) -> None:
    run = add_run(workspace.store, Run(kind="pretrain", name="a", params={"config": SMALL.model_dump()}))
    add_metrics(workspace.store, run.id, [(1, "images_per_second", 16.0)])
    cost = estimate(workspace.store, SMALL, 160)
    assert (cost.steps, cost.measured) == (200, True)
    assert cost.seconds == pytest.approx(200 * 64 / 16.0)


def test_a_run_of_another_version_tells_nothing(workspace: Workspace) -> None:
    run = add_run(workspace.store, Run(kind="pretrain", name="a", params={"config": {"mixed_precision": True}}))
    add_metrics(workspace.store, run.id, [(1, "images_per_second", 16.0)])
    assert not estimate(workspace.store, SMALL, 160).measured
