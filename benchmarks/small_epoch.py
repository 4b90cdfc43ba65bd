"""Measure an epoch of the preset ``small`` on the demo, for stage 1 and stage 3, with data loading.

    python benchmarks/small_epoch.py

It uses the demo in $ORL_WORKSPACE, or builds one and deletes it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.orl.method import Method
from orl_explorer.train.demo.build import ENCODER, NAME, SET, build_demo
from orl_explorer.train.jobs.launcher import wait
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.data import ImageViews, RoiViews, steps_per_epoch
from orl_explorer.train.training.distributed import joined_processes
from orl_explorer.train.training.engine import fit
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.presets import train_preset
from orl_explorer.train.training.stages import build_method
from orl_explorer.train.training.trained_on import correspondences, photos_alone
from orl_explorer.train.workspace import open_workspace


def main() -> None:
    """Train two epochs of each stage, and print the time of the second, which starts warm."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_workspace(os.environ.get("ORL_WORKSPACE") or Path(folder) / "workspace")
        run = build_demo(workspace)
        assert run is None or wait(workspace, run.id).status == "done", f"mining with {ENCODER} failed"
        changes = {"epochs": 2, "checkpoint_every": 100, "knn_every": 0}
        stage_1, stage_3 = (with_settings(train_preset(method, "small"), changes) for method in ("byol", "orl"))
        assert isinstance(stage_3, ORLConfig)
        dataset, mined = dataset_named(workspace.store, NAME), complete_set_named(workspace.store, SET)
        files = photos_alone(workspace, dataset).files
        found = correspondences(workspace, mined, dataset, stage_3)
        byol, orl = build_method(stage_1), build_method(stage_3)
        stages: dict[str, tuple[Method, TrainConfig, ImageViews | RoiViews]] = {
            "stage 1, BYOL": (byol, stage_1, ImageViews(files, byol.views(stage_1.image_size), stage_1.seed)),
            "stage 3, ORL": (orl, stage_3, RoiViews(found, orl.views(stage_3.image_size), stage_3)),
        }
        for name, (method, config, views) in stages.items():
            clock = _Clock()
            with joined_processes() as processes:
                fit(method, views, config, Path(folder) / name, clock, processes)
            per_epoch = steps_per_epoch(len(views), config.batch_size)
            seconds = clock.times[2 * per_epoch] - clock.times[per_epoch]
            print(f"{name}: {seconds:.1f} s for an epoch of {per_epoch} steps of {config.batch_size}")


class _Clock(Progress):
    """Records when each step ended."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def metric(self, step: int, values: dict[str, float]) -> None:
        self.times.append(time.perf_counter())


if __name__ == "__main__":
    main()
