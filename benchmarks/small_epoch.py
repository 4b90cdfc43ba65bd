"""How long an epoch of the ``small`` preset takes on the demo, stage 1 and stage 3, with data loading.

python benchmarks/small_epoch.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from db.correspondences import complete_set_named
from db.photos import dataset_named
from orl.byol import BYOL
from orl.object_level import ORL
from train.config import TRAIN_PRESETS, with_settings
from train.data import ImageViews, RoiViews, correspondences, photo_files
from train.demo.build import ENCODER, NAME, SET, build_demo
from train.engine import fit
from train.progress import Progress
from train.runs import wait
from train.workspace import open_workspace


def main() -> None:
    """Train two epochs of each stage and print the second, which starts warm."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_workspace(Path(folder) / "workspace")
        run = build_demo(workspace)
        assert run is not None and wait(workspace, run.id).status == "done", f"mining with {ENCODER} failed"
        config = with_settings(TRAIN_PRESETS["small"], {"epochs": 2, "checkpoint_every": 100})
        dataset = dataset_named(workspace.store, NAME)
        found = correspondences(workspace, complete_set_named(workspace.store, SET), dataset)
        shapes = (config.backbone, config.hidden, config.projection)
        stages = {
            "stage 1, BYOL": (BYOL(*shapes), ImageViews(photo_files(workspace, dataset), config)),
            "stage 3, ORL": (ORL(*shapes), RoiViews(found, config)),
        }
        for name, (method, views) in stages.items():
            clock = _Clock()
            fit(method, views, config, Path(folder) / name, clock)
            per_epoch = len(views) // config.batch_size
            seconds = clock.times[2 * per_epoch] - clock.times[per_epoch]
            print(f"{name}: {seconds:.1f} s for an epoch of {per_epoch} steps of {config.batch_size}")


class _Clock(Progress):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def metric(self, step: int, values: dict[str, float]) -> None:
        self.times.append(time.perf_counter())


if __name__ == "__main__":
    main()
