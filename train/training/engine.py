"""The training loop of all methods: views -> losses -> step -> target -> numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from orl_explorer.orl.augment import augment_batch, normalise
from orl_explorer.orl.backbones import Statistics
from orl_explorer.orl.distributed import synchronise
from orl_explorer.orl.heads import feature_spread
from orl_explorer.orl.method import Method
from orl_explorer.orl.schedules import learning_rate, scaled_rate
from orl_explorer.train.errors import UserError
from orl_explorer.train.pools import drawn_batches
from orl_explorer.train.progress import TRAINING, Progress, Stopped
from orl_explorer.train.training.alarms import Collapse
from orl_explorer.train.training.checkpoints import load_checkpoint, save_checkpoint
from orl_explorer.train.training.config import TrainConfig, refuse_uneven
from orl_explorer.train.training.data import (
    CHANGES,
    BatchParts,
    ImageViews,
    RoiViews,
    Views,
    batch_keys,
    loader,
    steps_per_epoch,
)
from orl_explorer.train.training.distributed import Processes
from orl_explorer.train.training.tensorboard import Board

NAMED = 16  # photos listed in an error message
PAUSE = 1.0  # seconds between two readings of numbers from an accelerator, each of which waits for it


class Check(Protocol):
    """A check at the end of an epoch."""

    def __call__(self, method: Method, epoch: int, step: int, saved: bool) -> dict[str, float]:
        """Return numbers to report, if any, and leave the method unchanged."""


def fit(
    method: Method,
    dataset: ImageViews | RoiViews,
    config: TrainConfig,
    folder: Path,
    progress: Progress,
    processes: Processes,
    checks: Sequence[Check] = (),
    read_every: int | None = None,
) -> None:
    """Train a method to its last epoch, from its newest checkpoint if the folder has one.

    Order, views and schedules are functions of the step, so a resumed run ends with the same weights as an
    uninterrupted one (bitwise on a CPU). The numbers of a step stay on the device until they are read: every
    ``read_every`` steps (by default every step on a CPU, where reading is free, and about once a second elsewhere), at
    the end of each epoch, and before a save. Raises Stopped after saving a checkpoint, and UserError if the loss is not
    finite.
    """
    refuse_uneven(config, processes.size)
    per_epoch = steps_per_epoch(len(dataset), config.batch_size)
    loop = _Loop(method, config, per_epoch, folder, processes)
    loop.resume(progress)
    total = loop.total
    if processes.any(_asked_to_stop(progress, loop.step, total)):
        raise Stopped
    collapse, notes = Collapse(), Notes(processes, read_every)
    source = BatchParts(len(dataset), config, loop.step, processes.rank, processes.size)
    batches = drawn_batches(loader(dataset, config, source, pin_memory=processes.device.type == "cuda"))
    stopping = False
    with closing(Board(folder, loop.step, processes.first)) as board:
        while loop.step < total:
            notes.add(*loop.learn(batches))
            stopping |= _asked_to_stop(progress)
            epoch, within = divmod(loop.step, per_epoch)
            if within and not notes.due:
                continue
            due = within == 0 and (epoch % config.checkpoint_every == 0 or loop.step == total)
            for step, numbers in notes.read(config.batch_size):
                if not math.isfinite(numbers["loss"]):
                    raise UserError(_not_finite(dataset, config, step - 1, numbers["learning_rate"], progress))
                if alarm := collapse.seen(numbers["feature_spread"]):
                    progress.log(alarm)
                if step == epoch * per_epoch:
                    said = f"loss {numbers['loss']:.4f}, learning rate {numbers['learning_rate']:.2e}"
                    progress.log(f"Epoch {epoch} of {config.epochs}: {said}.")
                    for check in checks if processes.first else ():
                        numbers |= check(method, epoch, step, due)
                progress.metric(step, numbers)
                board.write(step, numbers)
            stopping = processes.any(stopping)
            if due or stopping:
                loop.save()
                board.flush()
            if stopping:
                raise Stopped
            notes.begin()  # the time of checks and checkpoints does not count
    progress.log(f"Peak memory of this process: {_most_memory(processes.device) / 1e9:.2f} GB.")


class _Loop:
    """The state of a training: networks, optimiser and step. A checkpoint holds it."""

    def __init__(self, method: Method, config: TrainConfig, per_epoch: int, folder: Path, processes: Processes) -> None:
        self.method, self.config, self.folder, self.processes = method, config, folder, processes
        self.step, self.total = 0, per_epoch * config.epochs
        self.warmup = round(config.warmup_epochs * per_epoch)
        self.peak = scaled_rate(config.rate_per_256, config.batch_size)
        device = processes.device
        self.network = _prepare(method, device)
        self.optimiser = method.optimiser(self.peak, config.momentum, config.weight_decay, config.optimiser)
        self.lower = lower_precision(config, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.lower is torch.float16)
        self.model: nn.Module = self.network

    def resume(self, progress: Progress) -> None:
        """Load the newest checkpoint, if there is one, and distribute the network to the other processes."""
        saved = load_checkpoint(self.folder, progress)
        if saved is not None:
            try:
                self.network.load_state_dict(saved["method"])
                self.optimiser.load_state_dict(saved["optimizer"])
                self.scaler.load_state_dict(saved["scaler"])
            except (KeyError, ValueError, RuntimeError) as error:
                raise UserError(
                    "The checkpoint was written by another version of the project. Start a new run."
                ) from error
            self.step = saved["step"]
            progress.log(f"Resumed at step {self.step} of {self.total}.")
        self.model = _spread_out(self.network, self.method, self.processes)

    def learn(self, batches: Iterator[Views]) -> tuple[int, list[str], Tensor, float, float]:
        """Do one step: draw views, compute losses and gradients, update the weights and the target.

        Returns the number of the step, from 1; the names of the loss's terms; [loss, terms …, spread, gradient norm] on
        the device, averaged over parts and processes; the learning rate; the seconds spent waiting for data.
        """
        parts, device = self.config.accumulate, self.processes.device
        rate = learning_rate(self.step, self.total, self.warmup, self.peak)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        reports, waited = [], 0.0
        for part in range(parts):
            asked = time.perf_counter()
            drawn = next(batches)
            waited += time.perf_counter() - asked
            views = to_device(drawn, device, self.method.statistics)
            self._seed(part)
            with nullcontext() if part == parts - 1 else _unsynced(self.model):
                with torch.autocast(device.type, self.lower, enabled=self.lower is not None):
                    terms, projections = self.model(views)
                loss = torch.stack(list(terms.values())).sum()
                self.scaler.scale(loss / parts).backward()
            reports.append(
                torch.stack([loss.detach(), *(t.detach() for t in terms.values()), feature_spread(projections)])
            )
        self.scaler.unscale_(self.optimiser)
        report = torch.cat([torch.stack(reports).mean(0).float(), self._gradient_norm()])
        report = self.processes.mean(report)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        self.method.after_step(self.step, self.total)
        self.step += 1
        return self.step, list(terms), report, rate, waited

    def _seed(self, part: int) -> None:
        """Seed what a network draws, such as the blocks that timm's skip: a resumed run draws what it would have."""
        of_this_pass = (self.config.seed, self.step, part, self.processes.rank)
        torch.manual_seed(int(np.random.SeedSequence(of_this_pass).generate_state(1)[0]))

    def _gradient_norm(self) -> Tensor:
        """Return the 2-norm of all gradients together, float32 [1]. All processes hold the same gradients."""
        found = [p.grad for group in self.optimiser.param_groups for p in group["params"] if p.grad is not None]
        return nn.utils.get_total_norm(found).float().reshape(1)

    def save(self) -> None:
        """Write a checkpoint of the last step."""
        if self.processes.first:
            payload = {
                "method": self.network.state_dict(),
                "optimizer": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "config": self.config.model_dump(),
            }
            save_checkpoint(self.folder, self.step, payload)


class Notes:
    """The reports of steps that are not read yet, because reading waits for the device."""

    def __init__(self, processes: Processes, every: int | None) -> None:
        """every: steps between readings, or None for those of ``steps_between``."""
        self._processes, self._every, self._pause = processes, every, every or 1
        self._kept: list[tuple[int, list[str], Tensor, float, float]] = []
        self.begin()

    @property
    def due(self) -> bool:
        """Whether the numbers should be read now. All processes agree on the step."""
        return len(self._kept) >= self._pause

    def begin(self) -> None:
        """Start the clock."""
        self._clock = time.perf_counter()

    def add(self, step: int, terms: list[str], report: Tensor, rate: float, waited: float) -> None:
        """Keep the result of ``_Loop.learn``."""
        self._kept.append((step, terms, report, rate, waited))

    def read(self, batch_size: int) -> list[tuple[int, dict[str, float]]]:
        """Return the numbers of each step since the last reading. The time of a step is their mean."""
        values = torch.stack([report for _, _, report, _, _ in self._kept]).tolist()
        now = time.perf_counter()
        took = (now - self._clock) / len(self._kept)
        told = []
        for (step, terms, _, rate, waited), (loss, *each, spread, gradient) in zip(self._kept, values, strict=True):
            named = {f"loss_{name}": v for name, v in zip(terms, each, strict=True)} if len(terms) > 1 else {}
            speed = {"images_per_second": batch_size / took, "data_wait": waited / took}
            state = {"feature_spread": spread, "learning_rate": rate}
            if math.isfinite(gradient):  # a step in fp16 whose gradients overflow is left out, and the scale lowered
                state["gradient_norm"] = gradient
            told.append((step, {"loss": loss} | named | state | speed))
        self._pause = self._every or steps_between(self._processes, took)
        self._kept, self._clock = [], now
        return told


def steps_between(processes: Processes, seconds: float) -> int:
    """Return the number of steps to the next reading, from the seconds of a step. All processes get the same number."""
    if processes.device.type == "cpu":
        return 1
    return max(1, int(processes.mean_of(int(PAUSE / seconds))))


def to_device(drawn: Views, device: torch.device, statistics: Statistics) -> dict[str, Tensor]:
    """Return the views as input of a method, augmented and normalised: float32 [B, 3, S, S], channels last.

    statistics: mean and standard deviation of RGB in [0, 1].
    """
    views = {}
    for name, pixels in drawn.items():
        if name.endswith(CHANGES):
            continue
        pixels = pixels.to(device, non_blocking=True)
        if (changes := drawn.get(name + CHANGES)) is not None:
            pixels = augment_batch(pixels, changes.to(device, non_blocking=True))
        views[name] = normalise(pixels, *statistics)
    return views


def _prepare(method: Method, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.benchmark = True  # the sizes of views never change
    if method.synchronised:
        synchronise(method, device)
    return method.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def lower_precision(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """Return the type of forward passes, or None for fp32."""
    match config.precision:
        case "bf16":
            return torch.bfloat16
        case "fp16":
            return torch.float16
        case "auto" if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        case "auto" if device.type == "cpu" and multiplies_bf16():
            return torch.bfloat16
    return None


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bf16. Without them, bf16 is slower than fp32."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))


def _spread_out(network: nn.Module, method: Method, processes: Processes) -> nn.Module:
    if processes.size == 1:
        return network
    device_ids = [processes.device] if processes.device.type == "cuda" else None
    # Synchronised batch norms have equal statistics in all processes. Others use those of the first process.
    buffers = not method.synchronised
    return DistributedDataParallel(network, device_ids=device_ids, broadcast_buffers=buffers)


def _unsynced(model: nn.Module) -> Any:
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def _asked_to_stop(progress: Progress, resumed: int = 1, total: int = 0) -> bool:
    """Report a step, or the start of the phase, and return whether to stop. The processes must stop together."""
    try:
        if total:
            progress.phase(TRAINING, total)
        progress.advance(resumed)
    except Stopped:
        return True
    return False


def _not_finite(dataset: ImageViews | RoiViews, config: TrainConfig, step: int, rate: float, progress: Progress) -> str:
    files = [dataset.file(index) for _, index in batch_keys(len(dataset), config, step)]
    said = f"The loss is not finite at step {step} (learning rate {rate:.3g}). The photos of its batch: "
    if len(files) <= NAMED:
        return f"{said}{', '.join(files)}."
    progress.log(f"{said}{', '.join(files)}.")
    return f"{said}{', '.join(files[:NAMED])} and {len(files) - NAMED} more. The log lists all of them."


def _most_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
