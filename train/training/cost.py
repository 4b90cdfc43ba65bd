"""An estimate of the cost of a training run, before it is launched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from orl_explorer.db.runs.runs import latest_metrics, runs
from orl_explorer.db.store import Store
from orl_explorer.orl.architectures import FORWARD, PARAMETERS, UNKNOWN
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.cost import ASSUMED
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.methods import read_config

if TYPE_CHECKING:
    from orl_explorer.orl.operations import Learning


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
    """Return the 10^9 operations per photo.

    A backward pass costs two forward passes of the blocks that are not frozen; a slow network has none, and may share
    the frozen blocks.
    """
    network = _network(config)
    following = network.share if config.shared_views and network.divisible else 1
    return sum(
        ((1 + 2 * network.share) * each.learned + following * each.followed) * network.forward[each.side]
        for each in config.passes
    )


def _network(config: TrainConfig) -> Learning:
    """Return the cost of a run's backbone: from a table, or counted."""
    return _counted(config.backbone, config.freeze, tuple(sorted({each.side for each in config.passes}, reverse=True)))


@lru_cache(maxsize=64)  # a form asks again at every change of any field
def _counted(architecture: str, frozen: int, sides: tuple[int, ...]) -> Learning:
    from orl_explorer.orl.measured import FAILURES
    from orl_explorer.orl.operations import Learning, of_learning

    known = architecture
    if frozen or architecture not in FORWARD:
        try:
            return of_learning(architecture, frozen, sides)
        except FAILURES:  # it is refused elsewhere
            known = architecture if architecture in FORWARD else UNKNOWN
    parameters = round(PARAMETERS[known] * 1e6)
    return Learning(parameters, parameters, {side: FORWARD[known] * (side / 224) ** 2 for side in sides}, 1.0, False)


def estimate(store: Store, config: TrainConfig, photos: int) -> Cost:
    """Estimate the cost of a run on so many photos from the speed of the newest measured run, scaled by operations."""
    steps = photos // config.batch_size * config.epochs
    images = steps * config.batch_size
    operations = operations_per_image(config)
    speed, measured = _measured_speed(store), True
    if speed is None:
        speed, measured = ASSUMED * (os.cpu_count() or 1), False
    network = _network(config)  # saved with its moving average, and the momentum of what learns
    parameters = network.parameters * (1 + config.slow_network) + network.learned
    return Cost(steps, images * operations / speed, measured, parameters * 4)


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
