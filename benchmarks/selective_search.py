"""Compare the compiled selective search with OpenCV's, photo by photo in turns, on one core.

    python benchmarks/selective_search.py --photos VOCdevkit/VOC2007 --photos coco --count 100
    python benchmarks/selective_search.py --photos VOCdevkit/VOC2007 --count 60 --recall

Without --photos, it uses the demo's scenes. It prints how many photos have the same boxes, and the same in the same
order, at full and at half scale, the ratio of the seconds of one core (its median over the photos, and of the sums),
what equal numbers decided, and the seconds of each step. --recall compares smaller searches: their cost, and the share
of annotated objects that a raw box and that a RoI overlaps with an IoU of at least 0.5. --cold compiles into an empty
folder and starts a second process on it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich import print as show
from rich.table import Table

from orl_explorer.db.models import Image
from orl_explorer.db.photos import annotations_of, usable_images
from orl_explorer.orl.boxes import each_once, filter_boxes, iou
from orl_explorer.orl.pixels import read_image
from orl_explorer.orl.selective_search import proposals
from orl_explorer.orl.selective_search import search as steps
from orl_explorer.orl.selective_search.opencv import MIN_SIZE, search_by_opencv
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.candidates import image_seed
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace, open_workspace

STEPS = ("sorted_edges", "segment", "cells", "texture", "count_bins", "outline", "histograms", "group", "group_by_list")
SMALLER = ((1.0, 100), (0.5, 100), (0.5, 25), (0.35, 25), (0.25, 25))  # scale, least size of first regions
COLD = "from orl_explorer.orl.selective_search.readiness import compile_search; print(compile_search())"


def cpu(work: Callable, *given: object) -> tuple[Any, float]:
    """Return the result of work and its seconds on this thread's core."""
    began = time.thread_time()
    return work(*given), time.thread_time() - began


def bgr_of(file: Path, scale: float) -> np.ndarray:
    """Return a photo as the search gets it."""
    pixels = np.ascontiguousarray(np.asarray(read_image(file))[..., ::-1])
    if scale == 1:
        return pixels
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def compare(files: list[tuple[Path, int]], table: Table) -> dict[float, np.ndarray]:
    """Add a row for each scale. Returns seconds of both searches, [photos, 2], by scale."""
    seconds = {}
    for scale in (1.0, 0.5):
        ties: dict[str, int] = {}
        same_set = same_order = 0
        took = []
        for file, seed in files:
            bgr = bgr_of(file, scale)
            ours, own = cpu(steps.search, bgr, seed, MIN_SIZE, ties)
            theirs, opencv = cpu(search_by_opencv, bgr, seed)
            ours, theirs = (each_once(found.astype(np.int16)) for found in (ours, theirs))
            same_set += {*map(tuple, ours.tolist())} == {*map(tuple, theirs.tolist())}
            same_order += np.array_equal(ours, theirs)
            took.append((own, opencv))
        seconds[scale] = np.array(took)
        of = len(files)
        table.add_row(f"photos at {scale:g}", f"{of}")
        table.add_row("… the same set of boxes", f"{same_set} of {of}")
        table.add_row("… in the same order", f"{same_order} of {of}")
        for kind, total in (("segmentations", 6 * of), ("groupings", 12 * of)):
            table.add_row(f"… {kind} that equal numbers decided", f"{ties.get(kind, 0)} of {total}")
        ratio = seconds[scale][:, 1] / seconds[scale][:, 0]
        table.add_row("… OpenCV, ms a photo", f"{1000 * seconds[scale][:, 1].mean():.0f}")
        table.add_row("… compiled, ms a photo", f"{1000 * seconds[scale][:, 0].mean():.0f}")
        table.add_row(
            "… times as fast, median (least, most)", f"{np.median(ratio):.1f} ({ratio.min():.1f}, {ratio.max():.1f})"
        )
        table.add_row("… times as fast, all photos", f"{seconds[scale][:, 1].sum() / seconds[scale][:, 0].sum():.1f}")
    across = np.median(seconds[1.0][:, 1] / seconds[0.5][:, 0])
    table.add_row("compiled at 0.5 against OpenCV at 1, median", f"{across:.1f}")
    return seconds


def by_step(files: list[tuple[Path, int]], table: Table) -> None:
    """Add the milliseconds of each step."""
    took = dict.fromkeys(STEPS, 0.0)
    plain = {name: getattr(steps, name) for name in STEPS}

    def timed(name: str) -> Callable:
        def step(*given: object) -> object:
            found, own = cpu(plain[name], *given)
            took[name] += own
            return found

        return step

    for name in STEPS:
        setattr(steps, name, timed(name))
    _, whole = cpu(lambda: [steps.search(bgr_of(file, 1.0), seed, MIN_SIZE) for file, seed in files])
    for name in STEPS:
        setattr(steps, name, plain[name])
        table.add_row(f"step {name}, ms", f"{1000 * took[name] / len(files):.1f}")
    table.add_row("all steps with reading, ms", f"{1000 * whole / len(files):.1f}")


def recall(workspace: Workspace, images: list[Image], files: list[tuple[Path, int]]) -> Table:
    """Return the cost and the recall of smaller searches."""
    table = Table(
        "scale", "first regions, px", "ms", "raw boxes", "RoIs", "recall, raw", "recall, RoIs", "… of ≥ 96 px"
    )
    rules = MineConfig().rules
    for scale, size in SMALLER:
        counts, took, objects = np.zeros(2), 0.0, []
        for image, (file, seed) in zip(images, files, strict=True):
            pixels = np.asarray(read_image(file))
            raw, own = cpu(proposals.selective_search, pixels, seed, scale, size)
            rois = filter_boxes(raw, rules, image.width, image.height).boxes
            took, counts = took + own, counts + np.array([len(raw), len(rois)])
            for one in annotations_of(workspace.store, image.id):
                box = np.array([one.x, one.y, one.w, one.h])
                hit = [bool(len(boxes)) and bool((iou(box, boxes) >= 0.5).any()) for boxes in (raw, rois)]
                objects.append((*hit, min(one.w, one.h) >= 96))
        of = np.array(objects, bool).reshape(-1, 3)
        shares = of[:, 0].mean(), of[:, 1].mean(), of[of[:, 2], 1].mean()
        cells = [f"{took / len(files) * 1000:.0f}", *(f"{count / len(files):.1f}" for count in counts)]
        table.add_row(f"{scale:g}", str(size), *cells, *(f"{100 * share:.1f} %" for share in shares))
    table.title = f"{len(files)} photos, {len(objects)} objects"
    return table


def cold_start(table: Table) -> None:
    """Add the seconds from an empty folder to a compared search, and those of the next process."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("compiled and compared, from an empty folder", "compared by the next process"):
            began = time.perf_counter()
            environment = os.environ | {"NUMBA_CACHE_DIR": folder}
            subprocess.run([sys.executable, "-c", COLD], env=environment, check=True, stdout=subprocess.DEVNULL)
            table.add_row(f"{name}, s", f"{time.perf_counter() - began:.1f}")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, action="append", help="folder of photos, VOC or COCO; may be repeated")
    parser.add_argument("--count", type=int, default=60, help="photos of each folder, drawn evenly")
    parser.add_argument("--recall", action="store_true", help="compare smaller searches by their recall")
    parser.add_argument("--cold", action="store_true", help="also measure the compiler")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    proposals.is_compiled = lambda: True  # whatever was compared before: it is compared here
    with tempfile.TemporaryDirectory() as place:
        workspace = open_workspace(Path(place) / "workspace")
        if not arguments.photos:
            from orl_explorer.train.demo.build import compose

            arguments.photos = [compose(Path(place) / "scenes", arguments.count)]
        images, files = [], []
        for number, folder in enumerate(arguments.photos):
            dataset = ingest(workspace, folder, name=str(number)).dataset
            every, photos = list(usable_images(workspace.store, dataset.id)), Photos.of(workspace.store, dataset.id)
            drawn = [every[i] for i in np.linspace(0, len(every) - 1, min(arguments.count, len(every))).astype(int)]
            images += drawn
            files += [(photos.path(image), image_seed(image.path)) for image in drawn]
        steps.search(bgr_of(*files[0][:1], 1.0), 0, MIN_SIZE)  # compiles, or loads what is compiled
        if arguments.recall:
            show(recall(workspace, images, files))
            return
        table = Table("measure", "value", title="Selective search, one core")
        compare(files, table)
        by_step(files, table)
        if arguments.cold:
            cold_start(table)
        show(table)


if __name__ == "__main__":
    main()
