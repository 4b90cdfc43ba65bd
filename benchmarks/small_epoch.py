"""Measure the preset ``small`` on the demo, for stage 1 and stage 3, with data loading, in fp32 and ``auto``.

    python benchmarks/small_epoch.py
    python benchmarks/small_epoch.py --preset medium --turns 1

The precisions take turns, start from the same weights and see the same views, so that their losses can be compared.
``auto`` is bf16 on a CPU that multiplies it. The last column compares the operations of the backbone's passes with
those of a product of large matrices in the same precision, which no training exceeds. It uses the demo in
$ORL_WORKSPACE, or builds one and deletes it.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.demo.build import ENCODER, NAME, SET, build_demo
from orl_explorer.train.jobs.launcher import wait
from orl_explorer.train.jobs.launchers.base import PATIENT, RETENTIVE
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.cost import operations_per_image
from orl_explorer.train.training.data import ImageViews, RoiViews, steps_per_epoch
from orl_explorer.train.training.distributed import joined_processes
from orl_explorer.train.training.engine import fit, lower_precision
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.presets import train_preset
from orl_explorer.train.training.stages import build_method
from orl_explorer.train.training.trained_on import correspondences, photos_alone
from orl_explorer.train.workspace import Workspace, open_workspace

PRECISIONS = ("fp32", "auto")
CPU = torch.device("cpu")
SIDE = 4096  # of the matrices


def main() -> None:
    """Train both stages in fp32 and in the automatic precision, in turns, and print speeds and losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--preset", default="small")
    asked = parser.parse_args()
    of_a_run = PATIENT | RETENTIVE
    if of_a_run.keys() - os.environ.keys():  # they are read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], of_a_run | os.environ)
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_workspace(os.environ.get("ORL_WORKSPACE") or Path(folder) / "workspace")
        run = build_demo(workspace)
        assert run is None or wait(workspace, run.id).status == "done", f"mining with {ENCODER} failed"
        runs: dict[tuple[str, str], list[tuple[float, float]]] = {}
        configs: dict[str, TrainConfig] = {}
        for turn in range(asked.turns):
            for method in ("byol", "orl"):
                for precision in PRECISIONS:
                    changes = {"epochs": asked.epochs, "checkpoint_every": 1000, "knn_every": 0, "precision": precision}
                    config = with_settings(train_preset(method, asked.preset), changes)
                    measured = trained(workspace, config, Path(folder) / f"{method}-{precision}-{turn}")
                    runs.setdefault((config.title, precision), []).append(measured)
                    configs[config.title] = config
    print("| method | precision | photos/s | × fp32 | seconds of 160 photos | loss of the last epoch | of a product |")
    print("|---|---|---|---|---|---|---|")
    for (title, precision), found in runs.items():
        speed, slow = (statistics.median(each for each, _ in runs[title, kind]) for kind in (precision, PRECISIONS[0]))
        ours = speed * operations_per_image(configs[title]) * 1e9
        share = ours / product_rate(lower_precision(with_settings(configs[title], {"precision": precision}), CPU))
        numbers = f"{speed:.1f} | {speed / slow:.2f} | {160 / speed:.2f} | {found[0][1]:.3f} | {share:.0%}"
        print(f"| {title} | {precision} | {numbers} |")


@functools.cache
def product_rate(lower: torch.dtype | None) -> float:
    """Return the operations per second of a product of large matrices: the best of ten. lower: None for fp32."""
    one, other = (torch.randn(SIDE, SIDE).to(lower or torch.float32) for _ in range(2))
    took = []
    for _ in range(10):
        began = time.perf_counter()
        one @ other
        took.append(time.perf_counter() - began)
    return 2 * SIDE**3 / min(took)


def trained(workspace: Workspace, config: TrainConfig, folder: Path) -> tuple[float, float]:
    """Train on the demo. Return photos per second without the first epoch, and the mean loss of the last."""
    torch.manual_seed(config.seed)
    method, clock = build_method(config), _Clock()
    views: ImageViews | RoiViews
    if isinstance(config, ORLConfig):
        mined, dataset = complete_set_named(workspace.store, SET), dataset_named(workspace.store, NAME)
        found = correspondences(workspace, mined, dataset, config)
        views = RoiViews(found, method.views(config.image_size), config)
    else:
        files = photos_alone(workspace, dataset_named(workspace.store, NAME)).files
        whole = method.views(config.image_size)
        views = ImageViews(files, whole, config.seed, scale_blur=config.scale_blur)
    with joined_processes() as processes:
        fit(method, views, config, folder, clock, processes)
    per_epoch = steps_per_epoch(len(views), config.batch_size)
    steps = per_epoch * (config.epochs - 1)
    seconds = clock.times[-1] - clock.times[per_epoch - 1]
    return steps * config.batch_size / seconds, statistics.mean(clock.losses[-per_epoch:])


class _Clock(Progress):
    """Records when each step ended, and its loss."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.losses: list[float] = []

    def metric(self, step: int, values: dict[str, float]) -> None:
        self.times.append(time.perf_counter())
        self.losses.append(values["loss"])


if __name__ == "__main__":
    main()
