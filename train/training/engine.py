"""The training loop, for every method: views -> losses -> step -> target -> numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from orl_explorer.orl.augment import augment_batch, normalise
from orl_explorer.orl.backbones import normalisation
from orl_explorer.orl.distributed import synchronise
from orl_explorer.orl.heads import spread
from orl_explorer.orl.lars import LARS, layer_groups
from orl_explorer.orl.method import Method
from orl_explorer.orl.schedules import learning_rate, scaled_rate
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training.alarms import Collapse
from orl_explorer.train.training.checkpoints import load_checkpoint, save_checkpoint
from orl_explorer.train.training.config import MoCoConfig, SimCLRConfig, TrainConfig, refuse_uneven
from orl_explorer.train.training.data import (
    CHANGES,
    ImageViews,
    Parts,
    RoiViews,
    Views,
    batch_keys,
    drawn_batches,
    loader,
    steps_per_epoch,
)
from orl_explorer.train.training.distributed import Processes
from orl_explorer.train.training.tensorboard import Board

NAMED = 16  # photos in a sentence


class Check(Protocol):
    """Something to look at when an epoch has ended."""

    def __call__(self, method: Method, epoch: int, step: int, saved: bool) -> dict[str, float]:
        """Numbers to report, if any. Leaves the method as it was."""


def fit(
    method: Method,
    dataset: ImageViews | RoiViews,
    config: TrainConfig,
    folder: Path,
    progress: Progress,
    processes: Processes,
    checks: Sequence[Check] = (),
) -> None:
    """Train a method to its last epoch, from its newest checkpoint if the folder has one.

    Order, views and schedules are functions of the step, so a run that was killed and resumed ends in the same
    weights as one that was not (bitwise on a CPU). Raises Stopped after saving a checkpoint, and UserError when
    the loss is no longer finite.
    """
    device, parts = processes.device, config.accumulate
    per_epoch = steps_per_epoch(len(dataset), config.batch_size)
    total = per_epoch * config.epochs
    warmup = round(config.warmup_epochs * per_epoch)
    peak = scaled_rate(config.rate_per_256, config.batch_size)
    refuse_uneven(config, processes.size)

    network = _prepare(method, config, device)
    optimiser = _optimiser(network, config, peak)
    lower = _autocast_type(config, device)
    scaler = torch.amp.GradScaler(device.type, enabled=lower is torch.float16)

    step = 0
    saved = load_checkpoint(folder, progress)
    if saved is not None:
        try:
            network.load_state_dict(saved["method"])
            optimiser.load_state_dict(saved["optimizer"])
            scaler.load_state_dict(saved["scaler"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise UserError("The checkpoint was written by another version of the project; start a new run.") from error
        step = saved["step"]
        progress.log(f"Resumed at step {step} of {total}.")
    model = _spread_out(network, config, processes)

    def save() -> None:
        if processes.first:
            payload = {
                "method": network.state_dict(),
                "optimizer": optimiser.state_dict(),
                "scaler": scaler.state_dict(),
                "config": config.model_dump(),
            }
            save_checkpoint(folder, step, payload)

    if processes.any(_asked_to_stop(progress, step, total)):
        raise Stopped
    board = Board(folder, step, processes.first)
    collapse = Collapse()
    source = Parts(len(dataset), config, step, processes.rank, processes.size)
    batches = drawn_batches(loader(dataset, config, source, pin_memory=device.type == "cuda"))
    clock = time.perf_counter()
    while step < total:
        rate = learning_rate(step, total, warmup, peak)
        for group in optimiser.param_groups:
            group["lr"] = rate

        reports, waited = [], 0.0
        for part in range(parts):
            asked = time.perf_counter()
            drawn = next(batches)
            waited += time.perf_counter() - asked
            views = to_device(drawn, device, method.architecture)
            with nullcontext() if part == parts - 1 else _unsynced(model):
                with torch.autocast(device.type, lower, enabled=lower is not None):
                    terms, projections = model(views)
                loss = torch.stack(list(terms.values())).sum()
                scaler.scale(loss / parts).backward()
            reports.append(torch.stack([loss.detach(), *(t.detach() for t in terms.values()), spread(projections)]))
        numbers = _named(processes.mean(torch.stack(reports).mean(0).float()), list(terms))
        if not math.isfinite(numbers["loss"]):
            raise UserError(_not_finite(dataset, config, step, rate, progress))
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad(set_to_none=True)
        method.after_step(step, total)
        step += 1

        now = time.perf_counter()
        took = now - clock
        numbers |= {"learning_rate": rate, "images_per_second": config.batch_size / took, "data_wait": waited / took}
        if alarm := collapse.seen(numbers["feature_spread"]):
            progress.log(alarm)
        epoch, within = divmod(step, per_epoch)
        due = within == 0 and (epoch % config.checkpoint_every == 0 or step == total)
        if within == 0:
            progress.log(f"Epoch {epoch} of {config.epochs}: loss {numbers['loss']:.4f}, learning rate {rate:.2e}.")
            if processes.first:
                for check in checks:
                    numbers |= check(method, epoch, step, due)
        progress.metric(step, numbers)
        board.write(step, numbers)
        stopping = processes.any(_asked_to_stop(progress))
        if due or stopping:
            save()
            board.flush()
        if stopping:
            raise Stopped
        clock = time.perf_counter()  # neither checks nor checkpoints are part of a step
    progress.log(f"Most memory of this process: {_most_memory(device) / 1e9:.2f} GB.")
    board.close()


def to_device(drawn: Views, device: torch.device, architecture: str) -> dict[str, Tensor]:
    """Views as a method takes them: what is still to be done to them done, float32 [B, 3, S, S], channels last."""
    mean, std = normalisation(architecture)
    views = {}
    for name, pixels in drawn.items():
        if name.endswith(CHANGES):
            continue
        pixels = pixels.to(device, non_blocking=True)
        if (changes := drawn.get(name + CHANGES)) is not None:
            pixels = augment_batch(pixels, changes.to(device, non_blocking=True))
        views[name] = normalise(pixels, mean, std)
    return views


def _prepare(method: Method, config: TrainConfig, device: torch.device) -> nn.Module:
    assert isinstance(method, nn.Module)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.benchmark = True  # views are always of the same sizes
    if not isinstance(config, MoCoConfig):  # its groups are smaller than a process's batch on purpose
        synchronise(method, device)
    return method.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def _optimiser(network: nn.Module, config: TrainConfig, rate: float) -> torch.optim.Optimizer:
    if isinstance(config, SimCLRConfig):
        return LARS(layer_groups(network), rate, config.momentum, config.weight_decay)
    learned = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.SGD(learned, lr=rate, momentum=config.momentum, weight_decay=config.weight_decay)


def _autocast_type(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    match config.precision:
        case "bf16":
            return torch.bfloat16
        case "fp16":
            return torch.float16
        case "auto" if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return None


def _spread_out(network: nn.Module, config: TrainConfig, processes: Processes) -> nn.Module:
    if processes.size == 1:
        return network
    device_ids = [processes.device] if processes.device.type == "cuda" else None
    # Synchronised batch norms keep equal statistics everywhere; MoCo's are the first process's.
    local = isinstance(config, MoCoConfig)
    return DistributedDataParallel(network, device_ids=device_ids, broadcast_buffers=local)


def _unsynced(model: nn.Module) -> Any:
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def _named(values: Tensor, terms: list[str]) -> dict[str, float]:
    loss, *each, spread_out = values.tolist()
    named = {f"loss_{name}": value for name, value in zip(terms, each, strict=True)} if len(terms) > 1 else {}
    return {"loss": loss} | named | {"feature_spread": spread_out}


def _asked_to_stop(progress: Progress, resumed: int = 1, total: int = 0) -> bool:
    """Tell of a step, or of the steps there were and will be. A process must not leave while others wait for it."""
    try:
        if total:
            progress.phase("Training", total)
        progress.advance(resumed)
    except Stopped:
        return True
    return False


def _not_finite(dataset: ImageViews | RoiViews, config: TrainConfig, step: int, rate: float, progress: Progress) -> str:
    files = [dataset.file(index) for _, index in batch_keys(len(dataset), config, step)]
    said = f"The loss is not finite at step {step} (learning rate {rate:.3g}); the photos of its batch: "
    if len(files) <= NAMED:
        return f"{said}{', '.join(files)}."
    progress.log(f"{said}{', '.join(files)}.")
    return f"{said}{', '.join(files[:NAMED])} and {len(files) - NAMED} more, all of them in the log."


def _most_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
