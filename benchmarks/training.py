"""Compare our training step and loop with the same step built from lightly's published modules.

    pip install -e '.[bench]'
    python benchmarks/training.py --photos VOC2007 --backbone resnet18 --image-size 96 --batch-size 32
    python benchmarks/training.py --photos VOC2007 --backbone resnet50 --image-size 224 --batch-size 8

Without --photos, it uses the demo's scenes. Our code and lightly's take turns, by step or by epoch, so that changes of
the machine's speed affect both. The numbers are medians of the turns, in wall time and in CPU time of all cores; CPU
time is more reliable on a shared machine. A bare step has its views in memory. End to end includes loader processes,
equally many for both, which read, crop and augment photos. Peak memory is that of a process that does bare steps. Each
measurement has its own process, so that memory left by another does not affect it. Ours has the environment of a run.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from rich import print as show
from rich.table import Table
from steps import learning_step, lightlys_step
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from orl_explorer.orl.backbones import normalisation
from orl_explorer.orl.byol import BYOL
from orl_explorer.orl.orl_loss import BRANCHES, ORL
from orl_explorer.train.demo.scenes import compose_scene
from orl_explorer.train.jobs.launchers.base import PATIENT, RETENTIVE
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.data import ImageViews, RoiViews
from orl_explorer.train.training.distributed import Processes
from orl_explorer.train.training.engine import fit, to_device
from orl_explorer.train.training.methods import ORLConfig
from orl_explorer.train.training.presets import PRESETS
from orl_explorer.train.training.trained_on import Correspondences

CPU = torch.device("cpu")
SCENES = 64
LIGHTLY = "lightly's BYOL"
ABLATED = ["ORL, image branch alone"]
Step = Callable[[], object]


class Seconds(NamedTuple):
    """Wall time, and CPU time of this process and of its ended children."""

    clock: float
    cores: float

    @staticmethod
    def now() -> Seconds:
        """Return the present wall time and CPU time."""
        used = os.times()
        return Seconds(time.perf_counter(), used.user + used.system + used.children_user + used.children_system)

    def since(self, before: Seconds, share: float = 1.0) -> Seconds:
        """Return the time since an earlier moment, or a share of it."""
        return Seconds((self.clock - before.clock) * share, (self.cores - before.cores) * share)


def medians(taken: list[Seconds]) -> Seconds:
    """Return the medians of wall time and of CPU time."""
    return Seconds(*(statistics.median(values) for values in zip(*taken, strict=True)))


def timed(step: Step) -> Seconds:
    """Return the time of one step."""
    began = Seconds.now()
    step()
    return Seconds.now().since(began)


def taking_turns(timings: dict[str, Callable[[], Seconds]], turns: int) -> dict[str, Seconds]:
    """Return the median time of each, after one round to warm up."""
    took: dict[str, list[Seconds]] = {name: [] for name in timings}
    for turn in range(turns + 1):
        for name, timing in timings.items():
            seconds = timing()
            if turn:
                took[name].append(seconds)
    return {name: medians(seconds) for name, seconds in took.items()}


def views_in_memory(config: TrainConfig, patch: int) -> dict[str, Tensor]:
    """Return a batch of all views of BYOL and ORL, as loaded."""
    size, batch = config.image_size, config.batch_size
    torch.manual_seed(0)
    raw = {n: torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8) for n in ("image_1", "image_2")}
    raw |= {n: torch.randint(0, 256, (batch, patch, patch, 3), dtype=torch.uint8) for n in _roi_names()}
    return to_device(raw, CPU, normalisation(config.backbone))


def prepared(kind: str, backbone: str, views: dict[str, Tensor]) -> Step:
    """Build the network and optimiser of one of the compared steps, and return the step."""
    if kind == LIGHTLY:
        theirs = lightlys_step(backbone)
        plain = [views[name].contiguous() for name in ("image_1", "image_2")]
        return lambda: theirs(*plain)
    lambdas = {"ORL": (1.0, 1.0, 1.0), "ORL, image branch alone": (1.0, 0.0, 0.0)}.get(kind)
    method = BYOL(backbone) if lambdas is None else ORL(backbone, weights=lambdas)
    method.to(memory_format=torch.channels_last).train()
    model = torch.compile(method) if "compile" in kind else method
    step = learning_step(model, method, torch.bfloat16 if "bf16" in kind else None)
    return lambda: step(views)


@contextmanager
def alone(kind: str) -> Iterator[ProcessPoolExecutor]:
    """Start a process, with the environment of a run if it measures our code."""
    usual = dict(os.environ)
    os.environ.update({} if kind == LIGHTLY else PATIENT | RETENTIVE)  # they are read at the start of a process
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        process.submit(os.getpid).result()
        os.environ.clear()
        os.environ.update(usual)
        yield process


STEPS: list[Step] = []  # of one process


def _prepare(kind: str, config: TrainConfig, patch: int) -> None:
    STEPS.append(prepared(kind, config.backbone, views_in_memory(config, patch)))


def _timed() -> Seconds:
    return timed(STEPS[0])


def _timed_in(process: ProcessPoolExecutor) -> Seconds:
    return process.submit(_timed).result()


def bare_steps(kinds: list[str], config: TrainConfig, patch: int, turns: int) -> dict[str, Seconds]:
    """Return the median time of a step with its views in memory, after one step to warm up."""
    with ExitStack() as stack:
        processes = {kind: stack.enter_context(alone(kind)) for kind in kinds}
        for kind, process in processes.items():
            process.submit(_prepare, kind, config, patch).result()
        return taking_turns({kind: partial(_timed_in, process) for kind, process in processes.items()}, turns)


def most_memory(config: TrainConfig, patch: int) -> dict[str, float]:
    """Return the peak resident memory of a process that does two steps, in GB."""
    found = {}
    for kind in (LIGHTLY, "BYOL", "ORL"):
        with alone(kind) as process:
            found[kind] = process.submit(_memory_of, kind, config, patch).result()
    return found


def _memory_of(kind: str, config: TrainConfig, patch: int) -> float:
    step = prepared(kind, config.backbone, views_in_memory(config, patch))
    step()
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _roi_names() -> list[str]:
    return [name for branch in BRANCHES[1:] for name in (branch.first, branch.second)]


class TheirPhotos(Dataset):
    """Photos augmented by lightly's BYOL transform."""

    def __init__(self, files: list[str], size: int) -> None:
        from lightly.transforms import BYOLTransform
        from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform

        self.files = files
        self.transform = BYOLTransform(BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> list:
        with PIL.Image.open(self.files[index]) as photo:
            return self.transform(photo.convert("RGB"))


class Clock(Progress):
    """Records when each step ended and how long it waited for data."""

    def __init__(self) -> None:
        self.ends: list[Seconds] = []
        self.waits: list[float] = []

    def metric(self, step: int, values: dict[str, float]) -> None:
        self.ends.append(Seconds.now())
        self.waits.append(values["data_wait"])


def end_to_end(files: list[str], config: TrainConfig, turns: int) -> tuple[dict[str, Seconds], float]:
    """Return the time of a step with loading, from alternating epochs of lightly's and ours, and our share of waiting.

    Wall time excludes the first step, which waits for the loaders to start. CPU time includes all steps.
    """
    took: dict[str, list[Seconds]] = {LIGHTLY: [], "BYOL": []}
    waits: list[float] = []
    with alone(LIGHTLY) as theirs, alone("BYOL") as ours:
        for _ in range(turns):
            took[LIGHTLY].append(theirs.submit(their_epoch, files, config).result())
            seconds, waited = ours.submit(our_epoch, files, config).result()
            took["BYOL"].append(seconds)
            waits += waited
    return {name: medians(values) for name, values in took.items()}, statistics.mean(waits)


def their_epoch(files: list[str], config: TrainConfig) -> Seconds:
    """Return the time of a step of lightly's with loading."""
    began, ends = Seconds.now(), []
    step, photos = lightlys_step(config.backbone), TheirPhotos(files, config.image_size)
    for first, second in DataLoader(photos, config.batch_size, True, num_workers=config.workers, drop_last=True):
        step(first, second)
        ends.append(Seconds.now())
    return _per_step(began, ends)


def our_epoch(files: list[str], config: TrainConfig) -> tuple[Seconds, list[float]]:
    """Return the time of a step of ours, and each step's share of waiting."""
    clock, began = Clock(), Seconds.now()
    with tempfile.TemporaryDirectory() as folder:
        method = BYOL(config.backbone)
        data = ImageViews(files, method.views(config.image_size), config.seed)
        fit(method, data, config, Path(folder), clock, Processes(0, 1, CPU))
    return _per_step(began, clock.ends), clock.waits[1:]


def _per_step(began: Seconds, ends: list[Seconds]) -> Seconds:
    whole = Seconds.now().since(began, 1 / len(ends))  # the loader processes have ended
    return Seconds(ends[-1].since(ends[0], 1 / (len(ends) - 1)).clock, whole.cores)


def loading(files: list[str], config: TrainConfig) -> dict[str, Seconds]:
    """Return the time of a photo in one loader process that runs alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    views = BYOL(config.backbone).views(config.image_size)  # ORL has the same views of whole photos
    ours = ImageViews(files, views, config.seed)
    orl_config = with_settings(PRESETS["orl"]["paper"], {"image_size": config.image_size})
    assert isinstance(orl_config, ORLConfig)
    rois = RoiViews(_around(files), views, orl_config)
    theirs = TheirPhotos(files, config.image_size)
    count = min(len(files), 48)
    each: dict[str, Step] = {
        LIGHTLY: lambda: [theirs[i] for i in range(count)],
        "BYOL": lambda: [ours[0, i] for i in range(count)],
        "ORL": lambda: [rois[0, i] for i in range(count)],
    }
    taken = taking_turns({name: partial(timed, step) for name, step in each.items()}, 2)
    found = {name: Seconds(*(value / count for value in seconds)) for name, seconds in taken.items()}
    torch.set_num_threads(threads)
    return found


def _around(files: list[str]) -> Correspondences:
    """Return a set with one pair per photo: its centre and the centre of the next photo."""
    sizes = np.array([PIL.Image.open(file).size for file in files], np.int32)
    boxes = np.concatenate([sizes // 4, sizes // 2], axis=1).astype(np.int16)
    count = np.arange(len(files) + 1)
    following = np.roll(count[:-1], -1)
    pairs = np.concatenate([boxes, boxes[following]], axis=1)
    digests = np.zeros(len(files), np.int64)
    return Correspondences(files, digests, sizes, count[:-1], count, boxes, count, following, count, pairs)


def photos_of(folder: Path | None, scratch: Path, most: int) -> list[str]:
    """Return the photos to train on: those of a folder, or the demo's scenes."""
    if folder is not None:
        return [str(p) for p in sorted(folder.rglob("*.jpg"))[:most]]
    for index in range(SCENES):
        PIL.Image.fromarray(compose_scene(0, index).image).save(scratch / f"{index:03d}.jpg", quality=92)
    return [str(p) for p in sorted(scratch.glob("*.jpg"))[:most]]


def main() -> None:
    """Measure everything, and print images per second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--most", type=int, default=512, help="largest number of photos per epoch")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--patch-size", type=int, help="side of a RoI view; default: 96 / 224 of the image size")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile; needs a C++ compiler")
    options = parser.parse_args()
    keys = ("backbone", "image_size", "batch_size", "workers")
    changes = {key: getattr(options, key) for key in keys} | {"epochs": 1, "knn_every": 0, "precision": "fp32"}
    config = with_settings(PRESETS["byol"]["paper"], changes)
    patch = options.patch_size or round(config.image_size * 96 / 224)
    with tempfile.TemporaryDirectory() as scratch:
        files = photos_of(options.photos, Path(scratch), options.most)
        what = f"{config.backbone}, views of {config.image_size}, RoIs of {patch}, batch {config.batch_size}"
        show(f"{what}; {len(files)} photos, {config.workers} loaders, {torch.get_num_threads()} threads")
        # Measured first, because the peak of a process includes the memory of the process that started it.
        memory = (f"{kind} {value:.2f}" for kind, value in most_memory(config, patch).items())
        show(f"peak memory, GB: {', '.join(memory)}")
        kinds = [LIGHTLY, "BYOL", "BYOL, bf16", *(["BYOL, torch.compile"] if options.compile else [])]
        _print("bare step", bare_steps(kinds, config, patch, options.turns), config.batch_size)
        bare = bare_steps(["BYOL", "ORL", *ABLATED], config, patch, options.turns)
        _print("bare step of ORL", bare, config.batch_size, "BYOL")
        _print("loading alone, one process", loading(files, config), 1)
        whole, waiting = end_to_end(files, config, max(1, options.turns // 2))
        _print("end to end", whole, config.batch_size)
        show(f"waiting for photos: {waiting:.1%} of a step")
    pixels = 1 + 2 * (patch / config.image_size) ** 2
    cost = (f"{ours / byol:.2f}" for ours, byol in zip(bare["ORL"], bare["BYOL"], strict=True))
    show(f"ORL costs {' and '.join(cost)} x BYOL (clock, cores), of {pixels:.2f} x the pixels")


def _print(title: str, seconds: dict[str, Seconds], images: int, against: str = LIGHTLY) -> None:
    times = "x lightly's" if against == LIGHTLY else f"x {against}"
    table = Table("", "images/s", times, "core seconds an image", times, title=title)
    baseline = seconds[against]
    for name, (clock, cores) in seconds.items():
        ratios = f"{baseline.clock / clock:.2f}", f"{baseline.cores / cores:.2f}"
        table.add_row(name, f"{images / clock:.1f}", ratios[0], f"{cores / images:.3f}", ratios[1])
    show(table)


if __name__ == "__main__":
    main()
