"""Training of a classifier by SGD with a stepped learning rate. A resumed run ends with the same numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orl_explorer.orl.measure.classifiers import stepped_rate
from orl_explorer.train.evaluate.protocols import HeadConfig
from orl_explorer.train.evaluate.views import Steps
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training.checkpoints import load_checkpoint, save_checkpoint

REPORTS = 10  # steps between the numbers of a run
Batches = Callable[[int], Iterator[tuple[Any, Tensor]]]  # the batches from a step on


class Diverged(Exception):
    """Raised when the loss is not finite."""


def descend(
    model: nn.Module,
    groups: list[dict[str, Any]],
    batches: Batches,
    loss_of: Callable[[Any, Tensor], Tensor],
    steps: Steps,
    gamma: float,
    folder: Path,
    progress: Progress,
    *,
    nesterov: bool,
    reported: int = 0,
) -> None:
    """Train a model to its last epoch, from its newest checkpoint if the folder has one.

    groups: parameters, each with its initial ``lr``. loss_of: the loss of the model's output and int64 [B] labels.
    reported: steps that earlier models of the same run took, for its curves. Raises Stopped after saving a checkpoint,
    and Diverged.
    """
    config: HeadConfig = steps.config
    started = [group["lr"] for group in groups]
    optimiser = torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=nesterov)
    step = 0
    saved = load_checkpoint(folder, progress)
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimizer"])
        step = saved["step"]
        progress.log(f"Resumed at step {step} of {steps.total}.")
    progress.advance(step)
    clock = time.perf_counter()
    for inputs, labels in batches(step):
        for group, first in zip(optimiser.param_groups, started, strict=True):
            group["lr"] = stepped_rate(first, steps.epoch(step), config.steps, gamma)
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(model(inputs), labels)
        if not math.isfinite(loss.item()):
            raise Diverged
        loss.backward()
        optimiser.step()
        step += 1
        took, clock = time.perf_counter() - clock, time.perf_counter()
        if step % REPORTS == 0 or step == steps.total:
            rate = optimiser.param_groups[0]["lr"]
            numbers = {"loss": loss.item(), "learning_rate": rate, "images_per_second": len(labels) / took}
            progress.metric(reported + step, numbers)
        stopping = _asked_to_stop(progress)
        if step % steps.per_epoch == 0 or stopping:
            save_checkpoint(folder, step, {"model": model.state_dict(), "optimizer": optimiser.state_dict()})
        if stopping:
            raise Stopped


def _asked_to_stop(progress: Progress) -> bool:
    try:
        progress.advance()
    except Stopped:
        return True
    return False
