"""Train methods with chosen settings on a folder of VOC, and measure what each has learned about the photos.

    python research/training_pilot.py --photos VOC2012-400 --seen 60000 \
        "simclr" "simclr optimiser=adamw rate_per_256=0.001" "byol image_size=96"

Each line is a method and changes to its preset. The encoders are trained on the photos of both lists of the folder,
train.txt and val.txt, without labels, and see as many photos each. The number is the mAP of linear SVMs on frozen
features, 2 x 2 cells, trained on the classes of train.txt and tested on val.txt, for photos at the side of the training
views and at --side. Use photos that have no say in a table of results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from orl_explorer.orl.augment import normalise
from orl_explorer.orl.measure.average_precision import average_precision
from orl_explorer.orl.measure.svm import decide, fit_svm, in_span
from orl_explorer.orl.method import Method
from orl_explorer.orl.pixels import read_image, resize_short_side, squeeze
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import parse_settings, with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.data import ImageViews
from orl_explorer.train.training.distributed import Processes
from orl_explorer.train.training.engine import fit, multiplies_bf16
from orl_explorer.train.training.monitors import evaluating
from orl_explorer.train.training.movement import Movement
from orl_explorer.train.training.presets import train_preset
from orl_explorer.train.training.stages import build_method

CPU = torch.device("cpu")
COST = 1.0  # of the SVMs
LEAST = 30  # photos of a class in each list


class Classes:
    """The photos of the two lists, and which classes each shows."""

    def __init__(self, voc: Path) -> None:
        lists = [(voc / "ImageSets/Main" / f"{name}.txt").read_text().split() for name in ("train", "val")]
        self.files = [str(voc / "JPEGImages" / f"{stem}.jpg") for stems in lists for stem in stems]
        self.first = len(lists[0])
        shown = [_shown(voc / "Annotations" / f"{stem}.xml") for stems in lists for stem in stems]
        labels = np.array([[name in each for name in sorted(set().union(*shown))] for each in shown])
        enough = (labels[: self.first].sum(0) >= LEAST) & (labels[self.first :].sum(0) >= LEAST)
        self.labels = labels[:, enough]
        self._pixels: dict[int, np.ndarray] = {}

    def pixels(self, side: int) -> np.ndarray:
        """Return all photos, uint8 [n, side, side, 3]."""
        if side not in self._pixels:
            photos = (squeeze(resize_short_side(read_image(Path(file))), side) for file in self.files)
            self._pixels[side] = np.stack(list(photos))
        return self._pixels[side]

    def measure(self, method: Method, side: int) -> float:
        """Return the mAP of linear SVMs on the backbone's features."""
        pixels, parts = self.pixels(side), []
        with torch.no_grad(), evaluating(method), torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16()):
            for i in range(0, len(pixels), 64):
                images = normalise(torch.from_numpy(pixels[i : i + 64]), *method.statistics)
                parts.append(F.adaptive_avg_pool2d(method.backbone(images).float(), 2).flatten(1))
        features = F.normalize(torch.cat(parts)).numpy()
        learn, basis = in_span(features[: self.first])
        shown = features[self.first :] if basis is None else features[self.first :] @ basis
        found = []
        for c in range(self.labels.shape[1]):
            machine = fit_svm(learn, np.where(self.labels[: self.first, c], 1, -1), COST, 0)
            found.append(average_precision(decide(shown.astype(np.float64), machine), self.labels[self.first :, c]))
        return float(np.mean(found))


def _shown(annotation: Path) -> set[str]:
    return {name.text or "" for name in ElementTree.parse(annotation).getroot().findall("object/name")}


def learn(classes: Classes, config: TrainConfig, side: int, looks: int) -> dict[str, object]:
    """Train, and return the last numbers, with the mAP after some epochs."""
    torch.manual_seed(config.seed)
    method = build_method(config)
    method.adapt(config.freeze, config.layer_decay)
    curve: list[tuple[int, float]] = []
    every = max(1, config.epochs // looks)
    last: dict[str, float] = {}

    class Kept(Progress):
        def metric(self, step: int, numbers: dict[str, float]) -> None:
            last.update(numbers)

    def look(method: Method, epoch: int, step: int, saved: bool) -> dict[str, float]:
        if epoch % every == 0 or epoch == config.epochs:
            curve.append((epoch, round(classes.measure(method, config.image_size) * 100, 2)))
            print(f"  epoch {epoch}: {curve[-1][1]}", flush=True)
        return {}

    data = ImageViews(
        classes.files, method.views(config.image_size), config.seed, scale_blur=config.scale_blur, changed=True
    )
    began, cores = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit(
            method,
            data,
            config,
            Path(folder),
            Kept(),
            Processes(0, 1, CPU),
            [Movement(method, config, Progress()), look],
        )
    numbers = {name: last[name] for name in ("loss", "weights_moved", "target_renewals") if name in last}
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cores}
    return numbers | spent | {"curve": curve, f"map_{side}": classes.measure(method, side) * 100}


def main() -> None:
    """Measure random weights, then each line, and print one line of JSON each after its curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="*", help="a method and changes to its preset")
    parser.add_argument("--photos", type=Path, required=True, help="folder of VOC")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seen", type=int, default=60_000, help="photos that each training sees")
    parser.add_argument("--side", type=int, default=128, help="of photos for the second number, in pixels")
    parser.add_argument("--looks", type=int, default=4, help="points of the curve")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    classes = Classes(arguments.photos)
    print(f"{len(classes.files)} photos, {classes.labels.shape[1]} classes, {arguments.seen} photos seen", flush=True)
    for line in arguments.lines:
        name, *changes = line.split()
        config = with_settings(train_preset(name, arguments.preset), parse_settings(changes))
        epochs = max(1, round(arguments.seen / len(classes.files)))
        config = with_settings(config, {"epochs": epochs, "checkpoint_every": 10_000, "knn_every": 0})
        torch.manual_seed(config.seed)
        start = build_method(config)
        random = {side: round(classes.measure(start, side) * 100, 2) for side in (config.image_size, arguments.side)}
        found = learn(classes, config, arguments.side, arguments.looks)
        print(json.dumps({"line": line, "random": random} | found), flush=True)


if __name__ == "__main__":
    main()
