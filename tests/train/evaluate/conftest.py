"""Photos whose classes are colours, in both layouts, and an encoder with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from orl_explorer.db.models import Evaluation, Run
from orl_explorer.db.runs.evaluations import evaluation_values
from orl_explorer.db.runs.runs import add_run
from orl_explorer.orl.backbones import build_backbone
from orl_explorer.train.encoders import weights
from orl_explorer.train.evaluate.protocols import EvaluateConfig
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace
from tests.named import evaluate

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60)}

Evaluate = Callable[..., tuple[Evaluation, dict[str, dict[str, float]]]]


def paint(path: Path, shown: list[str], rng: np.random.Generator) -> None:
    """Write a noisy photo of 72 x 64, one half per colour."""
    pixels = np.full((64, 72, 3), 120.0)
    for i, name in enumerate(shown):
        pixels[:, 36 * i : 36 * (i + 1) if len(shown) > 1 else 72] = COLOURS[name]
    noisy = pixels + rng.normal(0, 40, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=95)


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 photos as train/CLASS and val/CLASS: six and two of each colour."""
    root, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for name in COLOURS:
            for i in range(count):
                paint(root / split / name / f"{name}-{split}-{i}.jpg", [name], rng)
    return root


@pytest.fixture(scope="session")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOCdevkit with two classes: 16 photos in trainval and 10 in test, with both, no or difficult classes."""
    root, rng = tmp_path_factory.mktemp("voc") / "VOCdevkit", np.random.default_rng(1)
    lists = root / "VOC2007" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    kinds = [["red"], ["green"], ["red", "green"], []]
    for split, count in (("trainval", 16), ("test", 10)):
        lines: dict[str, list[str]] = {name: [] for name in COLOURS}
        for i in range(count):
            photo, shown = f"{split}-{i:02d}", kinds[i % 4]
            paint(root / "VOC2007" / "JPEGImages" / f"{photo}.jpg", shown, rng)
            for name in COLOURS:
                word = 1 if name in shown else -1
                lines[name].append(f"{photo} {0 if i in (4, 5) and word == 1 else word:2d}\n")
            objects = "".join(
                f"<object><name>{name}</name><bndbox><xmin>{1 + 36 * n}</xmin><ymin>1</ymin>"
                f"<xmax>{36 * (n + 1) - 2 * n}</xmax><ymax>64</ymax></bndbox></object>"
                for n, name in enumerate(shown)
            )
            annotation = root / "VOC2007" / "Annotations" / f"{photo}.xml"
            annotation.parent.mkdir(exist_ok=True)
            annotation.write_text(f"<annotation>{objects}</annotation>")
        for name, each in lines.items():
            (lists / f"{name}_{split}.txt").write_text("".join(each))
    return root


@pytest.fixture(scope="session")
def random_resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an untrained ResNet-18."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "r18.pt"
    torch.save(build_backbone("resnet18")[0].state_dict(), path)
    return path


@pytest.fixture
def place(workspace: Workspace, random_resnet: Path) -> Workspace:
    """A workspace with the encoder 'r18'."""
    weights.add(workspace, str(random_resnet), "r18")
    return workspace


@pytest.fixture
def evaluated(place: Workspace) -> Evaluate:
    """Evaluate 'r18' in a new run, or again in a stopped run; return its row and its values."""

    def call(
        data: Path | str, config: EvaluateConfig, progress: Progress | None = None, run_id: int | None = None
    ) -> tuple[Evaluation, dict[str, dict[str, float]]]:
        number = run_id or add_run(place.store, Run(kind="evaluate", name="r18", params={})).id
        row = evaluate(place, "r18", str(data), config, run_id=number, progress=progress)
        return row, evaluation_values(place.store, row.id)

    return call
