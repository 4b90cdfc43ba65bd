"""Measure training on a GPU: speed, waiting, memory, precisions and processes. Prints tables in Markdown.

    python benchmarks/gpu.py --photos VOC2012-400 --set batch_size=256 --set workers=16
    python benchmarks/gpu.py --photos VOC2012-400 --set backbone=resnet50 --set image_size=224 --set batch_size=256

The parts are: a step with its views in memory, in each precision, compiled, and built from lightly's modules if lightly
is installed; training from files, with views augmented by the loaders and on the device; losses of the precisions on
the same photos; and a step in a process group of one process, which must give the loss of a step without one.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from steps import learning_step, lightlys_step
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel
from training import Clock, photos_of

from orl_explorer.orl.backbones import normalisation
from orl_explorer.orl.byol import BYOL
from orl_explorer.train.settings import parse_settings, with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.data import ImageViews
from orl_explorer.train.training.distributed import Processes, choose_device
from orl_explorer.train.training.engine import fit, lower_precision, to_device
from orl_explorer.train.training.presets import train_preset

DEVICE = choose_device()


def main() -> None:
    """Measure all parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of photos; default: composed scenes")
    parser.add_argument("--most", type=int, default=4096, help="largest number of photos per epoch")
    parser.add_argument("--set", action="append", default=[], help="change a setting of the preset medium: key=value")
    parser.add_argument("--steps", type=int, default=50, help="measured steps of each kind")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile; needs a C++ compiler")
    asked = parser.parse_args()
    config = with_settings(train_preset("byol", "medium"), parse_settings(asked.set))
    config = with_settings(config, {"knn_every": 0, "checkpoint_every": 1000, "warmup_epochs": 0})
    card = torch.cuda.get_device_name() if DEVICE.type == "cuda" else DEVICE.type
    print(f"{card}, torch {torch.__version__}, {config.workers} loaders")
    print(f"BYOL, {config.backbone}, views of {config.image_size}, batch {config.batch_size}\n")
    bare_steps(config, asked.steps, asked.compile)
    precisions(config, asked.steps)
    one_process(config)
    with tempfile.TemporaryDirectory() as scratch:
        from_files(photos_of(asked.photos, Path(scratch), asked.most), config)


def bare_steps(config: TrainConfig, steps: int, compiled: bool) -> None:
    """Print the speed and the memory of each kind of step. The kinds take turns, so that a slow minute slows all."""
    kinds: dict[str, Callable[[], object]] = {kind: ours(config, kind) for kind in ("fp32", "auto")}
    if DEVICE.type == "cuda":
        kinds["fp16"] = ours(config, "fp16")
    if compiled:
        kinds["auto, compiled"] = ours(config, "auto", compiled=True)
    if importlib.util.find_spec("lightly"):
        kinds["lightly, auto"] = theirs(config)
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    peak: dict[str, str] = {}
    for turn in range(6):
        for kind, step in kinds.items():
            if DEVICE.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds = timed(step, max(1, steps // 5) if turn else 1)
            if turn:
                took[kind].append(seconds)
            if DEVICE.type == "cuda":
                peak[kind] = f"{torch.cuda.max_memory_allocated() / 1e9:.2f}"
    base = statistics.median(took["fp32"])
    print("| step, views in memory | photos/s | × fp32 | peak memory, GB |\n|---|---|---|---|")
    for kind, seconds_of in took.items():
        median = statistics.median(seconds_of)
        print(f"| {kind} | {config.batch_size / median:.0f} | {base / median:.2f} | {peak.get(kind, '')} |")
    print()


def timed(step: Callable[[], object], times: int) -> float:
    """Return the seconds of a step, the mean of several."""
    wait()
    began = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return (time.perf_counter() - began) / times


def wait() -> None:
    """Wait for the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def views_of(config: TrainConfig) -> dict[str, Tensor]:
    """Return a batch of random views on the device."""
    torch.manual_seed(0)
    shape = (config.batch_size, config.image_size, config.image_size, 3)
    raw = {name: torch.randint(0, 256, shape, dtype=torch.uint8) for name in ("image_1", "image_2")}
    return to_device(raw, DEVICE, normalisation(config.backbone))


def ours(config: TrainConfig, precision: str, compiled: bool = False) -> Callable[[], Tensor]:
    """Return a step of this project's BYOL. It returns the loss."""
    method = started(config)
    model = torch.compile(method) if compiled else method
    step, views = learning_step(model, method, lowered(config, precision), DEVICE), views_of(config)
    return lambda: step(views)


def started(config: TrainConfig) -> BYOL:
    """Return BYOL on the device, always with the same weights."""
    torch.manual_seed(0)
    method = BYOL(config.backbone, config.hidden, config.projection)
    return method.to(DEVICE, memory_format=torch.channels_last).train()  # type: ignore[call-overload]


def lowered(config: TrainConfig, precision: str) -> torch.dtype | None:
    """Return the type of forward passes in a precision, or None for fp32."""
    return lower_precision(with_settings(config, {"precision": precision}), DEVICE)


def theirs(config: TrainConfig) -> Callable[[], object]:
    """Return a step of BYOL from lightly's modules, in the precision that ours chooses."""
    step = lightlys_step(config.backbone, lowered(config, "auto"), DEVICE)
    views = [view.contiguous() for view in views_of(config).values()]
    return lambda: step(*views)


def precisions(config: TrainConfig, steps: int) -> None:
    """Print the loss of each precision after the same steps from the same weights on the same views."""
    kinds = ["fp32", "bf16", *(["fp16"] if DEVICE.type == "cuda" else [])]
    print("| precision | first loss | last loss |\n|---|---|---|")
    for kind in kinds:
        step = ours(config, kind)
        first, *_, last = [step().item() for _ in range(max(2, steps))]
        print(f"| {kind} | {first:.4f} | {last:.4f} |")
    print()


def one_process(config: TrainConfig) -> None:
    """Compare the loss of three steps alone and in a process group of one process."""
    alone = ours(config, "fp32")
    expected = [alone().item() for _ in range(3)]
    backend = "nccl" if DEVICE.type == "cuda" else "gloo"
    with group_of_one(backend):
        method, views = started(config), views_of(config)
        model = DistributedDataParallel(method, device_ids=[DEVICE] if DEVICE.type == "cuda" else None)
        together = learning_step(model, method, None, DEVICE)
        found = [together(views).item() for _ in range(3)]
    difference = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    print(f"Losses of three steps in a process group of one ({backend}) differ by at most {difference:.1e}.\n")


@contextmanager
def group_of_one(backend: str) -> Iterator[None]:
    """Join a process group that has no other process."""
    with tempfile.TemporaryDirectory() as folder:
        distributed.init_process_group(backend, f"file://{folder}/meeting", rank=0, world_size=1)
        try:
            yield
        finally:
            distributed.destroy_process_group()


def from_files(files: list[str], config: TrainConfig) -> None:
    """Print the speed of a training that reads its photos, with both places of the augmentation."""
    print("| training from files | photos/s | share of a step spent waiting |\n|---|---|---|")
    config = with_settings(config, {"batch_size": min(config.batch_size, len(files)), "epochs": 3})
    for place, changed in (("augmented by loaders", True), ("augmented on the device", False)):
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            method = BYOL(config.backbone, config.hidden, config.projection)
            data = ImageViews(files, method.views(config.image_size), config.seed, changed=changed)
            fit(method, data, config, Path(folder), clock, Processes(0, 1, DEVICE))
        steps = clock.ends[len(clock.ends) // 3 :]  # the first epoch starts the loaders
        speed = config.batch_size * (len(steps) - 1) / (steps[-1].clock - steps[0].clock)
        waits = statistics.mean(clock.waits[len(clock.waits) // 3 :])
        print(f"| {place} | {speed:.0f} | {waits:.1%} |")


if __name__ == "__main__":
    main()
