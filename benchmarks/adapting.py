"""Measure a training step of the preset ``adapt``, with frozen blocks computed once and twice, and without any.

    python benchmarks/adapting.py

The variants take turns, one step each, on random views of EfficientNet-Lite0, so that changes of the machine's speed
affect all. The numbers are medians, in CPU time of all cores per photo. ``data`` is the time in which the loader makes
the views of a photo, of which ``decoding`` is a part; without ``--photos`` it is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
from steps import learning_step

from orl_explorer.orl import bootstrap
from orl_explorer.orl.architectures import STARTER
from orl_explorer.orl.opening import OpenPhoto
from orl_explorer.train.settings import with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.data import VIEW_ORDER, ImageViews
from orl_explorer.train.training.presets import train_preset
from orl_explorer.train.training.stages import build_method

BATCH = 16


def main() -> None:
    """Print the CPU time per photo of each variant for BYOL and ORL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5, help="steps of each variant")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs, to measure views and decoding")
    asked = parser.parse_args()
    for name in ("byol", "orl"):
        branches = {"image_weight": 1, "intra_weight": 1} if name == "orl" else {}
        config = with_settings(train_preset(name, "adapt"), {"backbone": STARTER, **branches})
        free = with_settings(config, {"freeze": 0, "batch_norms": "learn"})
        variants = {
            "frozen blocks once": _step(config),
            "frozen blocks twice": _step(config, shared=False),
            "nothing frozen": _step(free),
        }
        taken: dict[str, list[float]] = {variant: [] for variant in variants}
        for turn in range(asked.steps + 1):
            for variant, step in variants.items():
                began = time.process_time()
                step()
                if turn:  # the first warms up
                    taken[variant].append((time.process_time() - began) / BATCH)
        for variant, seconds in taken.items():
            print(f"{config.title}, {variant}: {1e3 * statistics.median(seconds):.1f} ms a photo", flush=True)
    if asked.photos:
        _data(sorted(map(str, asked.photos.glob("*.jpg")))[:60])


def _step(config: TrainConfig, shared: bool = True) -> Callable[[], None]:
    """Return a function that does a training step on random views."""
    torch.manual_seed(0)
    method = build_method(config)
    method.adapt(config.freeze, config.layer_decay, config.batch_norms == "frozen", config.head_rate)
    method.to(memory_format=torch.channels_last).train()
    learn = learning_step(method, method)
    sides = {view.name: view.size for view in method.views(config.image_size)}
    if hasattr(config, "patch_size"):
        sides |= {name: config.patch_size for name, branch, _ in VIEW_ORDER if branch != "image"}
    made = {name: torch.randn(BATCH, 3, side, side) for name, side in sides.items()}
    views = {name: view.to(memory_format=torch.channels_last) for name, view in made.items()}

    def step() -> None:
        with nullcontext() if shared else patch.object(bootstrap, "divided", lambda *_: None):
            learn(views)

    return step


def _data(files: list[str]) -> None:
    """Print the CPU time of views of photos, and of decoding alone."""
    config = train_preset("byol", "adapt")
    method = build_method(with_settings(config, {"backbone": STARTER}))
    views, whole, decoding = ImageViews(files, method.views(config.image_size), 0), OpenPhoto.rgb, [0.0]

    def timed(*asked: object, **named: object) -> object:
        began = time.process_time()
        try:
            return whole(*asked, **named)  # type: ignore[arg-type]
        finally:
            decoding[0] += time.process_time() - began

    with patch.object(OpenPhoto, "rgb", timed):
        began = time.process_time()
        for index in range(len(files)):
            views[0, index]
        took = time.process_time() - began
    each = 1e3 / len(files)
    print(f"BYOL, data: {each * took:.1f} ms a photo, of which decoding {each * decoding[0]:.1f} ms")


if __name__ == "__main__":
    main()
