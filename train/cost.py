"""What a training run will cost, told before it is launched."""

from __future__ import annotations

import os
from dataclasses import dataclass

from db.runs import latest_metrics, runs
from db.store import Store
from train.config import TrainConfig

# Forward pass of one 224 x 224 image, 10^9 floating-point operations (two for each multiply-add).
FORWARD = {"resnet18": 3.63, "resnet34": 7.34, "resnet50": 8.18, "resnet101": 15.6, "resnet152": 23.0}
# Parameters of the backbone, 10^6.
PARAMETERS = {"resnet18": 11.2, "resnet34": 21.3, "resnet50": 23.5, "resnet101": 42.5, "resnet152": 58.1}
ASSUMED = 25.0  # 10^9 operations a second and core, where no run on this machine has told


@dataclass(frozen=True)
class Cost:
    """steps: optimiser steps. seconds: of the whole run. measured: whether an earlier run gave the speed.

    checkpoint_bytes: of one checkpoint; two are kept.
    """

    steps: int
    seconds: float
    measured: bool
    checkpoint_bytes: int


def operations_per_image(config: TrainConfig, stage: int) -> float:
    """10^9 operations for one photo: two online forwards with their backwards, and two target forwards, per branch."""
    forward = FORWARD[config.backbone] * (config.image_size / 224) ** 2
    if stage == 1:
        return 8 * forward
    patch = FORWARD[config.backbone] * (config.patch_size / 224) ** 2
    branches = (forward, config.image_weight), (patch, config.intra_weight), (patch, config.inter_weight)
    return sum(8 * cost for cost, weight in branches if weight)


def estimate(store: Store, config: TrainConfig, stage: int, photos: int) -> Cost:
    """Cost of a run on so many photos, from the speed of the newest run with numbers, scaled by operations."""
    steps = photos // config.batch_size * config.epochs
    images = steps * config.batch_size
    operations = operations_per_image(config, stage)
    speed, measured = _measured_speed(store), True
    if speed is None:
        speed, measured = ASSUMED * (os.cpu_count() or 1), False
    parameters = PARAMETERS[config.backbone] * 1e6 * 3  # online, target, momentum
    return Cost(steps, images * operations / speed, measured, round(parameters * 4))


def _measured_speed(store: Store) -> float | None:
    for run in runs(store):
        if run.kind in ("pretrain", "train"):
            rate = latest_metrics(store, run.id).get("images_per_second")
            if rate:
                return rate * operations_per_image(
                    TrainConfig(**run.params["config"]), 1 if run.kind == "pretrain" else 3
                )
    return None
