"""Mining against the reference's procedure written plainly, on the same photos, encoder and threads, in one run.

    python benchmarks/mining.py --photos VOC2007 --encoder starter --encoder resnet50 --picture docs/mining.png

Without --photos, the demo's scenes. Compared are the RoI stage (embedding and matching), selective search with one
worker and two and at half the scale, and what rounds: bf16 and RoIAlign. The reference embeds the RoIs of a query
and of its K neighbours for every query; --reference takes it through some of the queries only and scales the
seconds up.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import print as show
from rich.table import Table
from torch.nn import functional as F

from db import correspondences, mining
from db.encoders import encoder_named
from db.models import CorrespondenceSet, Image, Run
from db.models import Encoder as EncoderRow
from db.photos import annotations_of, usable_images
from db.runs import add_run
from orl.boxes import filter_boxes, iou
from orl.encoder import Encoder
from orl.matching import top_pairs
from orl.pixels import crop_box, read_image
from train import mine as stage
from train import weights
from train.config import MineConfig, with_settings
from train.features import Features
from train.ingest import ingest
from train.photos import Photos
from train.progress import Progress
from train.propose import propose_all
from train.workspace import Workspace, open_workspace

NAME = "photos"
PARTS = {  # and their colours
    "selective search": "#9aa5b1",
    "reading photos": "#f2b134",
    "cropping": "#e07b39",
    "waiting for crops": "#b3261e",
    "forward passes": "#3b6fb6",
    "matching": "#5aa469",
}
Pairs = set[tuple[int, int, tuple[int, ...], tuple[int, ...]]]  # query image, neighbour image, and their boxes


@dataclass
class Clock(Progress):
    """Seconds by phase of a mining, and by whatever is measured within."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _phase: str = ""
    _since: float = 0

    def phase(self, name: str, total: int) -> None:
        """Close the phase before and open this one."""
        now = time.perf_counter()
        self.seconds[self._phase] += now - self._since
        self._phase, self._since = name, now

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Time a block."""
        began = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - began

    def around(self, part: str, work: Callable) -> Callable:
        """A function that is timed whenever it is called."""

        def timed(*given: Any, **named: Any) -> Any:
            with self.measure(part):
                return work(*given, **named)

        return timed


# Selective search --------------------------------------------------------------------------------------


def compare_proposals(workspace: Workspace, images: list[Image], photos: Photos) -> dict[str, float]:
    """Keep the raw boxes of all photos, and time other ways to get them."""

    def run(workers: int, scale: float) -> tuple[float, dict[int, np.ndarray]]:
        jobs = [(str(photos.path(i)), stage.image_seed(i.path), scale) for i in images]
        results = propose_all(jobs[:workers] + jobs, workers)
        for _ in range(workers):  # a worker imports all that this script does before it begins
            next(results)
        began = time.perf_counter()
        found = [boxes for boxes in results if not isinstance(boxes, str)]
        return time.perf_counter() - began, dict(zip((i.id for i in images), found, strict=True))

    one, boxes = run(1, 1.0)
    two, again = run(2, 1.0)
    half, smaller = run(1, 0.5)
    assert all(np.array_equal(boxes[i], again[i]) for i in boxes)
    mining.add_proposals(workspace.store, MineConfig().method, boxes)
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
    """Share of annotated objects that a candidate overlaps with an IoU of at least a half."""
    found = total = 0
    for image in images:
        kept = filter_boxes(raw[image.id], MineConfig().rules, image.width, image.height).boxes
        for box in annotations_of(workspace.store, image.id):
            total += 1
            found += bool((iou(np.array([box.x, box.y, box.w, box.h]), kept) >= 0.5).any())
    return found / total if total else float("nan")


# The RoI stage -----------------------------------------------------------------------------------------


def reference(
    workspace: Workspace, mined: CorrespondenceSet, photos: Photos, queries: list[int]
) -> tuple[Clock, Pairs]:
    """What the reference does for some queries: every RoI again for every query, one photo to a batch."""
    row = encoder_named(workspace.store, encoder_name(workspace, mined))
    encoder = weights.build(weights.checkpoint_weights(workspace.path / row.weights_path))
    config, clock, pairs = MineConfig(**mined.params), Clock(), set()
    images = {i.id: i for i in usable_images(workspace.store, mined.dataset_id)}
    boxes = {i: found.boxes for i, found in correspondences.rois_of(workspace.store, mined.id, list(images)).items()}

    def embedded(image: Image) -> np.ndarray:
        with clock.measure("reading photos"):
            photo = read_image(photos.path(image))
        with clock.measure("cropping"):
            crops = np.stack([crop_box(photo, box) for box in boxes[image.id]])
        with clock.measure("forward passes"), torch.inference_mode():
            maps = encoder.backbone(encoder.normalise(crops).contiguous())
            return F.normalize(maps.mean((2, 3))).numpy()

    for query, neighbors in correspondences.neighbor_ids_of(workspace.store, mined.id, queries).items():
        own = embedded(images[query])
        for neighbor in neighbors:
            other = embedded(images[neighbor])
            with clock.measure("matching"):
                best = top_pairs(own, other, config.pair_ratio)
            pairs |= named(query, neighbor, boxes, best.query, best.key)
    return clock, pairs


def ours(
    workspace: Workspace, name: str, encoder: str, config: MineConfig, monitor: Callable[[Clock], Any]
) -> tuple[Clock, CorrespondenceSet]:
    """Mine as the product does, timed by phase."""
    clock = Clock()
    run = add_run(workspace.store, Run(kind="mine", name=name, params={})).id
    with monitor(clock):
        mined = stage.mine(workspace, NAME, encoder, name, config, run_id=run, workers=2, progress=clock)
    clock.phase("", 0)
    return clock, mined


@contextmanager
def looking_inside(clock: Clock) -> Iterator[None]:
    """Time the forward passes of crops within a mining."""
    embed = Encoder.embed_rois
    Encoder.embed_rois = clock.around("forward passes", embed)  # type: ignore[method-assign]
    try:
        yield
    finally:
        Encoder.embed_rois = embed  # type: ignore[method-assign]


def stored_pairs(workspace: Workspace, mined: CorrespondenceSet, queries: list[int]) -> Pairs:
    """Pairs of a set."""
    found: Pairs = set()
    for query in queries:
        neighbors = {n.rank: n.image.id for n in correspondences.neighbors_of(workspace.store, mined.id, query)}
        for pair in correspondences.pairs_of(workspace.store, mined.id, query):
            found.add((query, neighbors[pair.neighbor_rank], pair.query_box, pair.key_box))
    return found


def named(query: int, neighbor: int, boxes: dict[int, np.ndarray], one: np.ndarray, other: np.ndarray) -> Pairs:
    """Pairs by their boxes."""
    left, right = boxes[query].tolist(), boxes[neighbor].tolist()
    return {(query, neighbor, tuple(left[q]), tuple(right[k])) for q, k in zip(one, other, strict=True)}


def pooled(workspace: Workspace, mined: CorrespondenceSet, photos: Photos) -> tuple[float, Pairs]:
    """Seconds and pairs of RoIAlign on the map of each photo, with the same neighbours and candidates."""
    row = encoder_named(workspace.store, encoder_name(workspace, mined))
    encoder, config = Features(workspace, row).encoder, MineConfig(**mined.params)
    images = list(usable_images(workspace.store, mined.dataset_id))
    boxes = {i: r.boxes for i, r in correspondences.rois_of(workspace.store, mined.id, [i.id for i in images]).items()}
    began = time.perf_counter()
    vectors = {i.id: encoder.pool_boxes(np.asarray(photos.read(i)), boxes[i.id]) for i in images}
    seconds, pairs = time.perf_counter() - began, set()
    near = correspondences.neighbor_ids_of(workspace.store, mined.id, list(boxes))
    for query, neighbors in near.items():
        for neighbor in neighbors:
            best = top_pairs(vectors[query], vectors[neighbor], config.pair_ratio)
            pairs |= named(query, neighbor, boxes, best.query, best.key)
    return seconds, pairs


def compare_rois(workspace: Workspace, encoder: str, photos: Photos, count: int) -> dict[str, Any]:
    """The RoI stage of the reference, ours, ours in bfloat16, and by RoIAlign."""
    clock, mined = ours(workspace, encoder, encoder, MineConfig(), looking_inside)
    every = sorted(mining.matched_images(workspace.store, mined.id))
    queries = [every[i] for i in np.linspace(0, len(every) - 1, min(count, len(every))).astype(int)]
    plain, expected = reference(workspace, mined, photos, queries)
    scale = len(every) / len(queries)
    theirs = {part: plain.seconds[part] * scale for part in PARTS}
    embedding, matching = clock.seconds["Embedding regions"], clock.seconds["Matching regions"]
    parts = {
        "waiting for crops": embedding - clock.seconds["forward passes"],
        "forward passes": clock.seconds["forward passes"],
        "matching": matching,
    }
    quick, rounded = ours(
        workspace, f"{encoder}-bf16", encoder, with_settings(MineConfig(), {"precision": "bf16"}), looking_inside
    )
    exact, half = stored_pairs(workspace, mined, every), stored_pairs(workspace, rounded, every)
    near = {(q, n) for q, n, *_ in half}
    comparable = {pair for pair in exact if pair[:2] in near}
    align, approximate = pooled(workspace, mined, photos)
    return {
        "RoIs": mined.candidate_count,
        "pairs": mined.pair_count,
        "queries of the reference": len(queries),
        "reference, s": sum(theirs.values()),
        "ours, s": embedding + matching,
        "ours": sum(theirs.values()) / (embedding + matching),
        "identical pairs": len(expected & stored_pairs(workspace, mined, queries)) / len(expected),
        "bf16": embedding / quick.seconds["Embedding regions"],
        "bf16, same neighbours": len({p[:2] for p in exact} & near) / len({p[:2] for p in exact}),
        "bf16, same pairs of those": len(comparable & half) / len(comparable),
        "RoIAlign": embedding / align,
        "RoIAlign, same pairs": len(exact & approximate) / len(exact),
        "parts": {"reference": theirs, "ours": parts},
    }


def encoder_name(workspace: Workspace, mined: CorrespondenceSet) -> str:
    """Name of a set's encoder."""
    with workspace.store.session() as session:
        found = session.get(EncoderRow, mined.encoder_id)
        assert found is not None
        return found.name


def add(workspace: Workspace, encoder: str, images: list[Image], photos: Photos) -> None:
    """The starter, or a ResNet of seeded weights whose batch norms have seen the photos: what it costs is the same."""
    if encoder == "starter":
        weights.add(workspace, "starter", "starter")
        return
    torch.manual_seed(0)
    network = Encoder(encoder)
    norms = [m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain mean over the batches
    network.backbone.train()
    with torch.no_grad():
        for image in images[:4]:
            photo = photos.read(image)
            boxes = np.random.default_rng(image.id).integers(32, min(photo.size) // 2, (8, 4))
            network.backbone(network.normalise(np.stack([crop_box(photo, box) for box in boxes])))
    path = workspace.path / f"{encoder}.pt"
    torch.save(network.backbone.state_dict(), path)
    weights.add(workspace, str(path), encoder)


# Putting it together -----------------------------------------------------------------------------------


def gather(photos: Path | None, count: int, place: Path) -> Path:
    """A folder with some of the photos, evenly drawn, with VOC's annotations where there are any."""
    if photos is None:
        from train.demo.build import compose

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
    """Where the time goes: a stacked bar for each procedure and encoder, as a picture."""
    import plotly.graph_objects as go
    from playwright.sync_api import sync_playwright

    bars = {
        f"{encoder}: {who}": parts | {"selective search": results["selective search"]["two workers, s"]}
        for encoder, found in results["encoders"].items()
        for who, parts in found["parts"].items()
    }
    figure = go.Figure()
    for part, color in PARTS.items():
        seconds = [parts.get(part, 0) / results["photos"] for parts in bars.values()]
        if any(seconds):
            figure.add_bar(name=part, y=list(bars), x=seconds, orientation="h", marker_color=color)
    figure.update_layout(
        barmode="stack",
        template="plotly_white",
        width=1000,
        height=120 + 60 * len(bars),
        margin={"l": 150, "r": 20, "t": 20, "b": 50},
        xaxis_title="seconds a photo, two cores",
        yaxis={"autorange": "reversed"},
        legend={"traceorder": "normal"},
    )
    with sync_playwright() as playwright:
        found = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 120 + 60 * len(bars)}, device_scale_factor=2)
        page.set_content(figure.to_html(include_plotlyjs=True, config={"staticPlot": True}))
        page.locator(".main-svg").first.wait_for()
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photos, or of VOC2007; else the demo's scenes")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--encoder", action="append", choices=["starter", "resnet18", "resnet50"])
    parser.add_argument("--reference", type=int, default=10_000, help="queries that the reference is taken through")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
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
