"""The estimated cost of mining, from the speed of earlier runs or from the number of cores."""

from __future__ import annotations

import os

import pytest

from orl_explorer.db.models import Encoder
from orl_explorer.db.runs.runs import add_metrics, latest_metrics, runs
from orl_explorer.orl.reading import Choices, Reading
from orl_explorer.train.mining import cost as cost_of
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.cost import COMPILED, OPENCV, ROIS, MiningWork, estimate_mining
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace
from tests.conftest import NewRun
from tests.named import mine

ENCODER = Encoder(id=1, name="starter", architecture="efficientnet_lite0", roi_features=1280)
WORK = MiningWork(photos=1000, proposals=300, maps=0, rois=20_000, rows=60_000, raw_boxes=400_000)


def planned_vit() -> Reading:
    from orl_explorer.orl.timm_dense import plan_timm

    return plan_timm("timm:test_vit", Choices())


@pytest.fixture(autouse=True)
def by_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_of, "is_compiled", lambda: False)


def test_the_compiled_search_has_a_speed_of_its_own(
    workspace: Workspace, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_of, "is_compiled", lambda: True)
    search = MiningWork(photos=0, proposals=140, maps=0, rois=0, rows=0, raw_boxes=0)
    slow = new_run(workspace, "mine", "slow", config=MineConfig().model_dump())
    add_metrics(workspace.store, slow, [(0, OPENCV, 1.0)])
    assert estimate_mining(workspace.store, ENCODER, MineConfig(), search).seconds == 20 / (os.cpu_count() or 1)
    fast = new_run(workspace, "mine", "fast", config=MineConfig().model_dump())
    add_metrics(workspace.store, fast, [(0, COMPILED, 28.0)])
    assert estimate_mining(workspace.store, ENCODER, MineConfig(), search).seconds == 5.0


def test_nothing_measured_yet(workspace: Workspace) -> None:
    cores = os.cpu_count() or 1
    cost = estimate_mining(workspace.store, ENCODER, MineConfig(), WORK)
    # 0.8 of 25 · 10^9 operations for each RoI, a photo a second by selective search, 125 by all the rest.
    assert cost.seconds == pytest.approx(20_000 * 0.8 / (25 * cores) + 300 / cores + 8)
    assert not cost.measured
    assert cost.disk_bytes == 20_000 * (4 * 1280 + 8) + 60_000 * 46 + 400_000 * 8
    half = estimate_mining(workspace.store, ENCODER, MineConfig(proposal_scale=0.5), WORK)
    assert half.seconds == pytest.approx(20_000 * 0.8 / (25 * cores) + 75 / cores + 8)


def test_the_newest_run_of_the_same_kind_tells_the_speed(workspace: Workspace, new_run: NewRun) -> None:
    plain, half = MineConfig().model_dump(), MineConfig(proposal_scale=0.5).model_dump()
    for config, rates in ((plain, {ROIS: 100.0, OPENCV: 2.0}), (half, {OPENCV: 8.0}), (plain, {ROIS: 50.0})):
        run = new_run(workspace, "mine", f"set-{rates}", config=config)
        add_metrics(workspace.store, run, [(0, name, value) for name, value in rates.items()])
        with workspace.store.session() as session:
            session.connection().exec_driver_sql("PRAGMA foreign_keys=OFF")
            session.connection().exec_driver_sql(f"UPDATE run SET encoder_id = 1 WHERE id = {run}")
    cost = estimate_mining(workspace.store, ENCODER, MineConfig(), WORK)
    assert (cost.seconds, cost.measured) == (20_000 / 50 + 300 / 2 + 8, True)
    assert estimate_mining(workspace.store, ENCODER, MineConfig(proposal_scale=0.5), WORK).seconds == 400 + 300 / 8 + 8
    finer = estimate_mining(workspace.store, ENCODER, MineConfig(proposal_scale=0.5, segment_size=25), WORK)
    assert finer.seconds == pytest.approx(400 + 300 / (4 * (os.cpu_count() or 1)) + 8)  # nobody has measured it
    other = estimate_mining(workspace.store, ENCODER, MineConfig(precision="bf16"), WORK)
    assert not other.measured  # its RoIs take longest, and none was embedded so


def test_an_attention_map_costs_as_much_as_nine_rois(workspace: Workspace) -> None:
    cores = os.cpu_count() or 1
    cost = estimate_mining(workspace.store, ENCODER, MineConfig(), MiningWork(0, 0, 1000, 0, 0, 0))
    # 640 and 256 pixels squared, of 224 squared.
    assert cost.seconds == pytest.approx(1000 * (640**2 + 256**2) / 224**2 * 0.8 / (25 * cores))
    assert (cost.measured, cost.disk_bytes) == (False, 1000 * (9 * 1600 + 8))


def test_a_vision_transformer_is_counted_as_it_is_read(workspace: Workspace) -> None:
    reading = planned_vit().stored()
    vit = Encoder(id=2, name="vit", architecture="timm:test_vit", kind="imported", roi_features=64, reading=reading)
    cores, width = os.cpu_count() or 1, 64

    def forward(side: int) -> float:
        cells = (side // 16) ** 2
        tokens = cells + 1
        of_block = 2 * tokens * width * (4 * width + 6 * width) + 4 * tokens**2 * width  # the MLP is 3 times as wide
        return (2 * cells * 16 * 16 * 3 * width + 6 * of_block) / 1e9

    rois = estimate_mining(workspace.store, vit, MineConfig(), MiningWork(0, 0, 0, 1000, 0, 0)).seconds
    assert rois == pytest.approx(1000 * forward(224) / (25 * cores))
    maps = estimate_mining(workspace.store, vit, MineConfig(), MiningWork(0, 0, 1000, 0, 0, 0)).seconds
    assert maps == pytest.approx(1000 * (forward(640) + forward(256)) / (25 * cores))


def test_work_that_needs_neither_is_matching_alone(workspace: Workspace) -> None:
    cost = estimate_mining(workspace.store, ENCODER, MineConfig(), MiningWork(500, 0, 0, 0, 0, 0))
    assert (cost.seconds, cost.measured, cost.disk_bytes) == (4.0, True, 0)


class Told(Progress):
    """Keeps the metrics that a stage reports."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}

    def metric(self, step: int, values: dict[str, float]) -> None:
        self.rates |= values


def test_mining_tells_how_fast_it_was_at_what_it_had_to_compute(
    ready: Workspace, new_run: NewRun, tiny_mine: MineConfig
) -> None:
    first, second = Told(), Told()
    for name, told in (("one", first), ("two", second)):
        mine(ready, "demo", "starter", name, tiny_mine, run_id=new_run(ready, "mine", name), workers=1, progress=told)
    assert set(first.rates) == {ROIS, OPENCV}
    assert all(rate > 0 for rate in first.rates.values())
    assert second.rates == {}  # all was there
    assert latest_metrics(ready.store, runs(ready.store)[0].id) == {}
