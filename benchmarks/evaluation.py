"""Measure the cost of evaluations: forward passes, SVMs of VOC07's full size, low-shot samples, and whole protocols.

python benchmarks/evaluation.py --architecture resnet50
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.measure.svm import in_span
from orl_explorer.train.evaluate.machines import ClassJob, LowShotJob, fit_class, fit_low_shot
from orl_explorer.train.evaluate.protocols import LowShotConfig

TRAINVAL, TEST, CLASSES = 5011, 4952, 20  # of VOC07
BATCH = 8


def main() -> None:
    """Print the seconds of each part, and the hours of whole protocols on all cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--photos", type=int, default=TRAINVAL, help="Rows to fit an SVM to; fewer for a quick check.")
    parser.add_argument("--shots", type=int, nargs="*", default=[1, 8, 96])
    arguments = parser.parse_args()
    cores = os.cpu_count() or 1
    torch.manual_seed(0)
    encoder = EncoderNetwork(arguments.architecture).fold()
    encoder.backbone.to(memory_format=torch.channels_last)
    rng = np.random.default_rng(0)

    pixels = rng.integers(0, 256, (BATCH, 224, 224, 3), np.uint8)
    encoder.embed_cells(pixels)
    forward = _seconds(lambda: [encoder.embed_cells(pixels) for _ in range(4)]) / (4 * BATCH)
    print(f"forward pass of a photo, all cores           {forward:9.4f} s")

    # Rows near a few directions, like the features of photos. One in ten is positive.
    width, photos = 4 * encoder.features, arguments.photos
    labels = np.where(rng.random(photos) < 0.1, 1, -1).astype(np.int8)
    rows = rng.normal(size=(photos, 64)) @ rng.normal(size=(64, width)) / 8 + rng.normal(size=(photos, width))
    rows += 0.5 * (labels > 0)[:, None] * rng.normal(size=width)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        learn, coordinates = Path(folder) / "learn.npy", Path(folder) / "coordinates.npy"
        np.save(learn, rows)
        turned = _seconds(lambda: np.save(coordinates, in_span(rows)[0]))
        print(f"coordinates in the span of {photos} rows        {turned:9.1f} s")
        one = _seconds(lambda: fit_class(ClassJob("x", str(coordinates), labels, 0)))
        print(f"SVMs of a class, 19 costs, 3 folds, one core {one:9.1f} s")
        svm = (TRAINVAL + TEST) * forward + turned + one * CLASSES / cores
        print(f"voc07-svm in all                             {svm / 3600:9.2f} h")
        total = 0.0
        ks = LowShotConfig().ks
        for k in arguments.shots:
            job = LowShotJob("x", str(learn), str(learn), labels, labels, k, (0, k))
            took = _seconds(lambda job=job: fit_low_shot(job))  # type: ignore[misc]
            print(f"a low-shot sample of a class, k = {k:<3d}          {took:9.1f} s")
            nearest = [other for other in ks if min(arguments.shots, key=lambda s, o=other: abs(s - o)) == k]  # type: ignore[misc]
            total += took * len(nearest) * LowShotConfig().samples * CLASSES / cores
        low = (TRAINVAL + TEST) * forward + total
        print(f"voc07-lowshot in all, other k as the nearest {low / 3600:9.2f} h")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
