"""The training loop, for every method: views -> losses -> step -> target -> numbers."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor

from orl.byol import BYOL
from orl.object_level import ORL
from orl.schedules import learning_rate, scaled_rate, target_momentum
from train.checkpoints import load_checkpoint, save_checkpoint
from train.config import TrainConfig
from train.data import ImageViews, RoiViews, batch_keys, loader, steps_per_epoch
from train.errors import UserError
from train.progress import Progress, Stopped


def choose_device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    method: BYOL | ORL, dataset: ImageViews | RoiViews, config: TrainConfig, folder: Path, progress: Progress
) -> None:
    """Train a method to its last epoch, from its newest checkpoint if the folder has one.

    Order, views and schedules are functions of the step, so a run that was killed and resumed ends in the same
    weights as one that was not (bitwise on a CPU). Raises Stopped after saving a checkpoint, and UserError when
    the loss is no longer finite.
    """
    device = choose_device()
    per_epoch = steps_per_epoch(len(dataset), config.batch_size)
    total = per_epoch * config.epochs
    warmup = round(config.warmup_epochs * per_epoch)
    peak = scaled_rate(config.rate_per_256, config.batch_size)

    method.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    learned = [p for p in method.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learned, lr=peak, momentum=config.momentum, weight_decay=config.weight_decay)
    half = config.mixed_precision and device.type == "cuda" and torch.cuda.is_bf16_supported()

    step = 0
    saved = load_checkpoint(folder, progress)
    if saved is not None:
        method.load_state_dict(saved["method"])
        optimiser.load_state_dict(saved["optimizer"])
        step = saved["step"]
        progress.log(f"Resumed at step {step} of {total}.")

    def save() -> None:
        payload = {"method": method.state_dict(), "optimizer": optimiser.state_dict(), "config": config.model_dump()}
        save_checkpoint(folder, step, payload)

    progress.phase("Training", total)
    progress.advance(step)
    clock = time.perf_counter()
    for views in loader(dataset, config, step, pin_memory=device.type == "cuda"):
        rate = learning_rate(step, total, warmup, peak)
        tau = target_momentum(step, total, config.target_momentum)
        for group in optimiser.param_groups:
            group["lr"] = rate

        on_device = {name: view.to(device, non_blocking=True) for name, view in views.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            losses = method.losses(on_device)
        loss = torch.stack(list(losses.values())).sum()
        if not math.isfinite(value := loss.item()):
            raise UserError(_not_finite(dataset, config, step, rate))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        method.update_target(tau)
        step += 1

        now = time.perf_counter()
        speed, clock = config.batch_size / (now - clock), now
        progress.metric(step, _numbers(value, losses) | {"learning_rate": rate, "images_per_second": speed})
        epoch_ends = step % per_epoch == 0
        if epoch_ends:
            progress.log(f"Epoch {step // per_epoch} of {config.epochs}: loss {value:.4f}, learning rate {rate:.2e}.")
        try:
            progress.advance()
        except Stopped:
            save()
            raise
        if epoch_ends and (step // per_epoch % config.checkpoint_every == 0 or step == total):
            save()


def _numbers(value: float, losses: dict[str, Tensor]) -> dict[str, float]:
    terms = {f"loss_{name}": term.item() for name, term in losses.items()} if len(losses) > 1 else {}
    return {"loss": value} | terms


def _not_finite(dataset: ImageViews | RoiViews, config: TrainConfig, step: int, rate: float) -> str:
    batch = batch_keys(len(dataset), config, step)
    named = ", ".join(dataset.file(index) for _, index in batch[:5])
    return f"The loss is not finite at step {step} (learning rate {rate:.3g}); its photos begin with {named}."
