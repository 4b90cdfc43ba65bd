"""What a training run will cost, told before it is launched."""

from __future__ import annotations

import os
from dataclasses import dataclass

from orl_explorer.db.runs.runs import latest_metrics, runs
from orl_explorer.db.store import Store
from orl_explorer.train.errors import UserError
from orl_explorer.train.training.config import (
    BYOLConfig,
    MoCoConfig,
    MultiCropConfig,
    ORLConfig,
    SimCLRConfig,
    TrainConfig,
    read_config,
)

# Forward pass of one 224 x 224 image, 10^9 floating-point operations (two for each multiply-add).
FORWARD = {
    "resnet18": 3.63,
    "resnet34": 7.34,
    "resnet50": 8.18,
    "resnet101": 15.6,
    "resnet152": 23.0,
    "resnext50_32x4d": 8.46,
    "resnext101_32x8d": 32.8,
    "resnext101_64x4d": 30.9,
    "wide_resnet50_2": 22.8,
    "wide_resnet101_2": 45.5,
}
# Parameters of the backbone, 10^6.
PARAMETERS = {
    "resnet18": 11.2,
    "resnet34": 21.3,
    "resnet50": 23.5,
    "resnet101": 42.5,
    "resnet152": 58.1,
    "resnext50_32x4d": 23.0,
    "resnext101_32x8d": 86.7,
    "resnext101_64x4d": 81.4,
    "wide_resnet50_2": 66.8,
    "wide_resnet101_2": 124.8,
}
UNKNOWN = "resnet50"  # what timm's backbones are taken for
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


def operations_per_image(config: TrainConfig) -> float:
    """10^9 operations for one photo: a backward costs two forwards, and a slow network has none."""
    image, forward = _forward(config, config.image_size), 1
    online, slow = forward + 2, forward
    match config:
        case BYOLConfig():
            return 2 * (online + slow) * image
        case SimCLRConfig():
            return 2 * online * image
        case MoCoConfig():
            return (online + slow) * image
        case MultiCropConfig():
            local = _forward(config, config.local_size)
            return 2 * (online + slow) * image + config.local_crops * online * local
        case ORLConfig():
            patch = _forward(config, config.patch_size)
            branches = (image, config.image_weight), (patch, config.intra_weight), (patch, config.inter_weight)
            return sum(2 * (online + slow) * cost for cost, weight in branches if weight)
    raise ValueError(f"No cost of {type(config).__name__}.")


def _forward(config: TrainConfig, side: int) -> float:
    return FORWARD.get(config.backbone, FORWARD[UNKNOWN]) * (side / 224) ** 2


def estimate(store: Store, config: TrainConfig, photos: int) -> Cost:
    """Cost of a run on so many photos, from the speed of the newest run with numbers, scaled by operations."""
    steps = photos // config.batch_size * config.epochs
    images = steps * config.batch_size
    operations = operations_per_image(config)
    speed, measured = _measured_speed(store), True
    if speed is None:
        speed, measured = ASSUMED * (os.cpu_count() or 1), False
    copies = 2 if isinstance(config, SimCLRConfig) else 3  # online, momentum and, mostly, a slow network
    parameters = PARAMETERS.get(config.backbone, PARAMETERS[UNKNOWN]) * 1e6 * copies
    return Cost(steps, images * operations / speed, measured, round(parameters * 4))


def _measured_speed(store: Store) -> float | None:
    for run in runs(store):
        if run.kind in ("pretrain", "train"):
            rate = latest_metrics(store, run.id).get("images_per_second")
            if rate:
                try:
                    return rate * operations_per_image(read_config(run.params["config"]))
                except UserError:  # of another version
                    continue
    return None
