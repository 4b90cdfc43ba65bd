"""Compare mining with the reference's procedure, on the same photos, encoder and threads.

    python benchmarks/mining.py --photos VOC2007 --encoder starter --encoder resnet50 --reference 12

Without --photos, it uses the demo's scenes. It compares the RoI stage (embedding and matching), selective search with
one worker, with two and at half the scale, and two approximations, bf16 and RoIAlign. The reference embeds the RoIs of
a query and of its K neighbours for every query. --reference limits the number of queries and scales the seconds up.

Search workers import this script with the environment of a run. Like the workers of a run, they do not import torch.
Both affect memory allocation, and so the speed of the search on small photos.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich import print as show
from rich.table import Table

from orl_explorer.db.models import Image
from orl_explorer.db.photos import annotations_of, usable_images
from orl_explorer.db.proposals import add_proposals
from orl_explorer.orl.boxes import filter_boxes, iou
from orl_explorer.orl.selective_search.opencv import MIN_SIZE
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs.launchers.base import PATIENT, RETENTIVE
from orl_explorer.train.mining.candidates import image_seed
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.propose import propose_all
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace, open_workspace

# Selective search --------------------------------------------------------------------------------------


def compare_proposals(workspace: Workspace, images: list[Image], photos: Photos) -> dict[str, float]:
    """Store the raw boxes of all photos, and time the variants of the search."""

    def run(workers: int, scale: float) -> tuple[float, dict[int, np.ndarray]]:
        jobs = [(str(photos.path(i)), photos.stamp(i), image_seed(i.path), scale, MIN_SIZE) for i in images]
        results = propose_all(jobs[:workers] + jobs, len(jobs), workers, Progress())
        for _ in range(workers):  # a worker first imports everything that this script imports
            next(results)
        began = time.perf_counter()
        found = [boxes for boxes in results if not isinstance(boxes, str)]
        return time.perf_counter() - began, dict(zip((i.id for i in images), found, strict=True))

    one, boxes = run(1, 1.0)
    two, again = run(2, 1.0)
    half, smaller = run(1, 0.5)
    assert all(np.array_equal(boxes[i], again[i]) for i in boxes)
    add_proposals(workspace.store, MineConfig().method, boxes)
    return {
        "one worker, s": one,
        "two workers, s": two,
        "half scale, one worker, s": half,
        "two workers": one / two,
        "half scale": one / half,
        "recall at full scale": recall(workspace, images, boxes),
        "recall at half scale": recall(workspace, images, smaller),
    }


def recall(workspace: Workspace, images: list[Image], raw: dict[int, np.ndarray]) -> float:
    """Return the share of annotated objects that a candidate overlaps with an IoU of at least 0.5."""
    found = total = 0
    for image in images:
        kept = filter_boxes(raw[image.id], MineConfig().rules, image.width, image.height).boxes
        for box in annotations_of(workspace.store, image.id):
            total += 1
            found += bool((iou(np.array([box.x, box.y, box.w, box.h]), kept) >= 0.5).any())
    return found / total if total else float("nan")


# Putting it together -----------------------------------------------------------------------------------


def gather(photos: Path | None, count: int, place: Path) -> Path:
    """Make a folder with an even sample of the photos, and with VOC's annotations if there are any."""
    if photos is None:
        from orl_explorer.train.demo.build import compose

        return compose(place / "scenes", count)
    every = sorted((photos / "JPEGImages" if (photos / "JPEGImages").is_dir() else photos).glob("*.jpg"))
    target = place / "photos"
    for folder in ("JPEGImages", "Annotations"):
        (target / folder).mkdir(parents=True)
    for i in np.linspace(0, len(every) - 1, min(count, len(every))).astype(int):
        shutil.copy(every[i], target / "JPEGImages")
        boxes = photos / "Annotations" / f"{every[i].stem}.xml"
        if boxes.is_file():
            shutil.copy(boxes, target / "Annotations")
    return target


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the time of each part as a stacked bar for each procedure and encoder."""
    from roi_stage import PARTS

    searched = {"selective search": results["selective search"]["two workers, s"]}
    bars = {
        f"{encoder}: {who}": {part: seconds / results["photos"] for part, seconds in (parts | searched).items()}
        for encoder, found in results["encoders"].items()
        for who, parts in found["parts"].items()
    }
    draw_bars(bars, PARTS, "seconds a photo, two cores", path)


def draw_bars(bars: dict[str, dict[str, float]], parts: dict[str, str], title: str, path: Path) -> None:
    """Draw stacked bars by name as a PNG. parts: the colour of each part."""
    import plotly.graph_objects as go
    from playwright.sync_api import sync_playwright

    figure = go.Figure()
    for part, color in parts.items():
        lengths = [bar.get(part, 0) for bar in bars.values()]
        if any(lengths):
            figure.add_bar(name=part, y=list(bars), x=lengths, orientation="h", marker_color=color)
    height = 120 + 60 * len(bars)
    figure.update_layout(
        barmode="stack",
        template="plotly_white",
        width=1000,
        height=height,
        margin={"l": 150, "r": 20, "t": 20, "b": 50},
        xaxis_title=title,
        yaxis={"autorange": "reversed", "automargin": True},
        legend={"traceorder": "normal"},
    )
    with sync_playwright() as playwright:
        found = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": height}, device_scale_factor=2)
        page.set_content(figure.to_html(include_plotlyjs=True, config={"staticPlot": True}))
        page.locator(".main-svg").first.wait_for()
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    """Measure, print the table, and write the files asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos or VOC2007; default: the demo's scenes")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--encoder", action="append", choices=["starter", "resnet18", "resnet50"])
    parser.add_argument("--reference", type=int, default=10_000, help="largest number of queries for the reference")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.update(PATIENT | RETENTIVE)
    import torch
    from roi_stage import NAME, add, compare_rois

    with tempfile.TemporaryDirectory() as place:
        workspace = open_workspace(Path(place) / "workspace")
        dataset = ingest(workspace, gather(arguments.photos, arguments.count, Path(place)), name=NAME).dataset
        images, photos = list(usable_images(workspace.store, dataset.id)), Photos.of(workspace.store, dataset.id)
        results: dict[str, Any] = {"photos": len(images), "threads": torch.get_num_threads(), "encoders": {}}
        results["selective search"] = compare_proposals(workspace, images, photos)
        for encoder in arguments.encoder or ["starter"]:
            add(workspace, encoder, images, photos)
            results["encoders"][encoder] = compare_rois(workspace, encoder, photos, arguments.reference)
    table = Table("", "measure", "value", title=f"{len(images)} photos, {results['threads']} threads")
    for section in (results["selective search"], *results["encoders"].values()):
        for measure, value in section.items():
            if measure != "parts":
                table.add_row("", measure, f"{value:.4g}")
        table.add_section()
    show(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    if arguments.picture:
        draw(results, arguments.picture)


if __name__ == "__main__":
    main()
