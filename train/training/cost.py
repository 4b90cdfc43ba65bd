"""An estimate of the cost of a training run, before it is launched."""

from __future__ import annotations

import os
from dataclasses import dataclass

from orl_explorer.db.runs.runs import latest_metrics, runs
from orl_explorer.db.store import Store
from orl_explorer.orl.architectures import FORWARD, PARAMETERS, UNKNOWN
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.cost import ASSUMED
from orl_explorer.train.training.config import TrainConfig, read_config


@dataclass(frozen=True)
class Cost:
    """The cost of a training run.

    steps: optimiser steps. seconds: of the whole run. measured: whether the speed comes from an earlier run.
    checkpoint_bytes: size of one checkpoint. Two are kept.
    """

    steps: int
    seconds: float
    measured: bool
    checkpoint_bytes: int


def operations_per_image(config: TrainConfig) -> float:
    """Return the 10^9 operations per photo. A backward pass costs two forward passes; a slow network has none."""
    return sum((3 * each.learned + each.followed) * _forward(config, each.side) for each in config.passes)


def _forward(config: TrainConfig, side: int) -> float:
    return FORWARD.get(config.backbone, FORWARD[UNKNOWN]) * (side / 224) ** 2


def estimate(store: Store, config: TrainConfig, photos: int) -> Cost:
    """Estimate the cost of a run on so many photos from the speed of the newest measured run, scaled by operations."""
    steps = photos // config.batch_size * config.epochs
    images = steps * config.batch_size
    operations = operations_per_image(config)
    speed, measured = _measured_speed(store), True
    if speed is None:
        speed, measured = ASSUMED * (os.cpu_count() or 1), False
    copies = 2 + config.slow_network  # the network, its momentum, and its moving average
    parameters = PARAMETERS.get(config.backbone, PARAMETERS[UNKNOWN]) * 1e6 * copies
    return Cost(steps, images * operations / speed, measured, round(parameters * 4))


def _measured_speed(store: Store) -> float | None:
    for run in runs(store):
        if run.kind in ("pretrain", "train"):
            rate = latest_metrics(store, run.id).get("images_per_second")
            if rate:
                try:
                    return rate * operations_per_image(read_config(run.params["config"]))
                except UserError:  # written by another version
                    continue
    return None
