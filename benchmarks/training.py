"""Our training step and loop against the same step built from lightly's published bricks, in one run.

    pip install lightly
    python benchmarks/training.py --photos VOC2007 --backbone resnet18 --image-size 96 --batch-size 32
    python benchmarks/training.py --photos VOC2007 --backbone resnet50 --image-size 224 --batch-size 8

Without --photos, the demo's scenes. Ours and theirs take turns, step by step or epoch by epoch, so that a machine
that grows slower or faster does so for both; the numbers are medians of the turns. A bare step has its views in
memory; end to end, as many loader processes read, cut and augment photos beside it.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torchvision
from rich import print as show
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from orl.byol import BYOL
from orl.object_level import BRANCHES, ORL
from train.config import with_settings
from train.correspondences import Correspondences
from train.data import ImageViews, RoiViews
from train.demo.scenes import compose_scene
from train.engine import fit, to_device
from train.methods import PRESETS, ORLConfig, TrainConfig
from train.pretrain import image_views
from train.processes import Processes
from train.progress import Progress

CPU = torch.device("cpu")
SCENES = 64
Step = Callable[[], None]


class Lightly(nn.Module):
    """BYOL as lightly's documentation puts its bricks together."""

    def __init__(self, backbone: str) -> None:
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        super().__init__()
        whole = torchvision.models.get_model(backbone, weights=None)
        width = whole.fc.in_features
        self.backbone = nn.Sequential(*list(whole.children())[:-1])
        self.projector = BYOLProjectionHead(width, 4096, 256)
        self.predictor = BYOLPredictionHead(256, 4096, 256)
        self.slow_backbone, self.slow_projector = copy.deepcopy(self.backbone), copy.deepcopy(self.projector)
        deactivate_requires_grad(self.slow_backbone)
        deactivate_requires_grad(self.slow_projector)

    def predict(self, view: Tensor) -> Tensor:
        return self.predictor(self.projector(self.backbone(view).flatten(1)))

    @torch.no_grad()
    def target(self, view: Tensor) -> Tensor:
        return self.slow_projector(self.slow_backbone(view).flatten(1))


def their_step(backbone: str) -> Callable[[Tensor, Tensor], None]:
    """One optimiser step of lightly's bricks on two views."""
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.utils import update_momentum

    model, loss = Lightly(backbone).train(), NegativeCosineSimilarity()
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learned, lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step(first: Tensor, second: Tensor) -> None:
        update_momentum(model.backbone, model.slow_backbone, 0.99)
        update_momentum(model.projector, model.slow_projector, 0.99)
        value = loss(model.predict(first), model.target(second)) + loss(model.predict(second), model.target(first))
        value.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def our_step(method: BYOL | ORL, precision: torch.dtype | None = None, compiled: bool = False) -> Callable:
    """One optimiser step of ours on named views."""
    method.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    model = torch.compile(method) if compiled else method
    optimiser = torch.optim.SGD(
        [p for p in method.parameters() if p.requires_grad], lr=0.01, momentum=0.9, weight_decay=1e-4
    )

    def step(views: dict[str, Tensor]) -> None:
        with torch.autocast("cpu", precision, enabled=precision is not None):
            terms, _ = model(views)
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        method.after_step(1, 1000)

    return step


def taking_turns(steps: dict[str, Step], turns: int) -> dict[str, float]:
    """Median seconds of each, after one round to warm up."""
    took: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if turn:
                took[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in took.items()}


def bare_steps(config: TrainConfig, patch: int, turns: int, compiled: bool) -> dict[str, float]:
    """Seconds of a step whose views are there already."""
    size, batch = config.image_size, config.batch_size
    torch.manual_seed(0)
    raw = {n: torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8) for n in ("image_1", "image_2")}
    raw |= {n: torch.randint(0, 256, (batch, patch, patch, 3), dtype=torch.uint8) for n in _roi_names()}
    views = to_device(raw, CPU, config.backbone)
    plain = [views[name].contiguous() for name in ("image_1", "image_2")]
    theirs = their_step(config.backbone)
    kinds: dict[str, tuple] = {"BYOL": (), "BYOL, bf16": (torch.bfloat16,)}
    if compiled:
        kinds["BYOL, torch.compile"] = (None, True)
    steps: dict[str, Step] = {"lightly's BYOL": lambda: theirs(*plain)}
    for name, options in kinds.items():
        step = our_step(BYOL(config.backbone), *options)
        steps[name] = lambda step=step: step(views)
    for name, lambdas in {"ORL": (1.0, 1.0, 1.0), "ORL, image branch alone": (1.0, 0.0, 0.0)}.items():
        step = our_step(ORL(config.backbone, weights=lambdas))
        steps[name] = lambda step=step: step(views)
    return taking_turns(steps, turns)


def _roi_names() -> list[str]:
    return [name for branch in BRANCHES[1:] for name in (branch.first, branch.second)]


class TheirPhotos(Dataset):
    """Photos through lightly's BYOL transform."""

    def __init__(self, files: list[str], size: int) -> None:
        from lightly.transforms import BYOLTransform
        from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform

        self.files = files
        self.transform = BYOLTransform(BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> list[Tensor]:
        with PIL.Image.open(self.files[index]) as photo:
            return self.transform(photo.convert("RGB"))


class Clock(Progress):
    """Notes when each step ended, and what it says of waiting."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.waits: list[float] = []
        self.lines: list[str] = []

    def metric(self, step: int, values: dict[str, float]) -> None:
        self.ends.append(time.perf_counter())
        self.waits.append(values["data_wait"])

    def log(self, message: str) -> None:
        self.lines.append(message)

    @property
    def seconds(self) -> float:
        """A step, without the first, which waits for the loaders to start."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def end_to_end(files: list[str], config: TrainConfig, turns: int) -> dict[str, float]:
    """Seconds of a step with loading: an epoch of theirs, an epoch of ours, in turns."""
    took: dict[str, list[float]] = {"lightly's BYOL": [], "BYOL": [], "waiting for photos": []}
    for _ in range(turns):
        theirs, ends = their_step(config.backbone), []
        for first, second in DataLoader(
            TheirPhotos(files, config.image_size), config.batch_size, True, num_workers=config.workers, drop_last=True
        ):
            theirs(first, second)
            ends.append(time.perf_counter())
        took["lightly's BYOL"].append((ends[-1] - ends[0]) / (len(ends) - 1))
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            data = ImageViews(files, image_views(config), config.seed)
            fit(BYOL(config.backbone), data, config, Path(folder), clock, Processes(0, 1, CPU))
        took["BYOL"].append(clock.seconds)
        took["waiting for photos"].append(statistics.mean(clock.waits[1:]))
    return {name: statistics.median(values) for name, values in took.items()}


def loading(files: list[str], config: TrainConfig) -> dict[str, float]:
    """Seconds of a photo in one loader, nothing else running."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ours = ImageViews(files, image_views(config), config.seed)
    orl_config = with_settings(PRESETS["orl"]["paper"], {"image_size": config.image_size})
    assert isinstance(orl_config, ORLConfig)
    rois = RoiViews(_around(files), image_views(orl_config), orl_config)
    theirs = TheirPhotos(files, config.image_size)
    count = min(len(files), 48)
    each: dict[str, Step] = {
        "lightly's BYOL": lambda: [theirs[i] for i in range(count)] and None,
        "BYOL": lambda: [ours[0, i] for i in range(count)] and None,
        "ORL": lambda: [rois[0, i] for i in range(count)] and None,
    }
    found = {name: seconds / count for name, seconds in taking_turns(each, 2).items()}
    torch.set_num_threads(threads)
    return found


def _around(files: list[str]) -> Correspondences:
    """A set whose only pair of each photo is its middle and that of the next photo."""
    sizes = np.array([PIL.Image.open(file).size for file in files], np.int32)
    boxes = np.concatenate([sizes // 4, sizes // 2], axis=1).astype(np.int16)
    count = np.arange(len(files) + 1)
    following = np.roll(count[:-1], -1)
    pairs = np.concatenate([boxes, boxes[following]], axis=1)
    return Correspondences(files, sizes, count[:-1], count, boxes, count, following, count, pairs)


def photos_of(folder: Path | None, scratch: Path, most: int) -> list[str]:
    """Photos to train on: those of a folder, else scenes of the demo."""
    if folder is not None:
        return [str(p) for p in sorted(folder.rglob("*.jpg"))[:most]]
    for index in range(SCENES):
        PIL.Image.fromarray(compose_scene(0, index).image).save(scratch / f"{index:03d}.jpg", quality=92)
    return [str(p) for p in sorted(scratch.glob("*.jpg"))[:most]]


def main() -> None:
    """Print images a second of each, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--most", type=int, default=512, help="photos of an epoch")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--patch-size", type=int, help="else in the paper's proportion, 96 of 224")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="torch.compile as well; needs a C++ compiler")
    options = parser.parse_args()
    keys = ("backbone", "image_size", "batch_size", "workers")
    changes = {key: getattr(options, key) for key in keys} | {"epochs": 1, "knn_every": 0}
    config = with_settings(PRESETS["byol"]["paper"], changes)
    patch = options.patch_size or round(config.image_size * 96 / 224)
    with tempfile.TemporaryDirectory() as scratch:
        files = photos_of(options.photos, Path(scratch), options.most)
        what = f"{config.backbone}, views of {config.image_size}, RoIs of {patch}, batch {config.batch_size}"
        show(f"{what}; {len(files)} photos, {config.workers} loaders, {torch.get_num_threads()} threads")
        bare = bare_steps(config, patch, options.turns, options.compile)
        whole = end_to_end(files, config, max(1, options.turns // 2))
        alone = loading(files, config)
    _print("bare step", bare, config.batch_size)
    waiting = whole.pop("waiting for photos")
    _print("end to end", whole, config.batch_size)
    _print("loading alone, one process", alone, 1)
    show(f"waiting for photos: {waiting:.1%} of a step")
    pixels = 1 + 2 * (patch / config.image_size) ** 2
    show(f"ORL costs {bare['ORL'] / bare['BYOL']:.2f} x BYOL, of {pixels:.2f} x the pixels")


def _print(title: str, seconds: dict[str, float], images: int) -> None:
    table = Table("", "images/s", "x lightly's", title=title)
    baseline = seconds["lightly's BYOL"]
    for name, value in seconds.items():
        table.add_row(name, f"{images / value:.1f}", f"{baseline / value:.2f}")
    show(table)


if __name__ == "__main__":
    main()
