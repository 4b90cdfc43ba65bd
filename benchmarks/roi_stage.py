"""The RoI stage of mining (embedding and matching): the reference's procedure, ours, bfloat16 and RoIAlign."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import CorrespondenceSet, Image, Run
from orl_explorer.db.models import Encoder as EncoderRow
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import read, write
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.matching import top_pairs
from orl_explorer.orl.pixels import crop_box, read_image
from orl_explorer.train.encoders import weights
from orl_explorer.train.mining import mine as stage
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import with_settings
from orl_explorer.train.workspace import Workspace

NAME = "photos"  # of the dataset
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
    """The seconds of each phase of a mining run, and of the parts measured within it."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _phase: str = ""
    _since: float = 0

    def phase(self, name: str, total: int) -> None:
        """End the present phase and start this one."""
        now = time.perf_counter()
        self.seconds[self._phase] += now - self._since
        self._phase, self._since = name, now

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Time a block."""
        began = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - began

    def spent(self, part: str) -> float:
        """Return the seconds of a part. Raises KeyError if there was none: names of phases change."""
        return dict(self.seconds)[part]

    def around(self, part: str, work: Callable) -> Callable:
        """Return a function whose calls are timed."""

        def timed(*given: Any, **named: Any) -> Any:
            with self.measure(part):
                return work(*given, **named)

        return timed


def reference(
    workspace: Workspace, mined: CorrespondenceSet, photos: Photos, queries: list[int]
) -> tuple[Clock, Pairs]:
    """Run the reference's procedure for some queries: embed all RoIs again for each query, one photo per batch."""
    row = encoder_named(workspace.store, encoder_name(workspace, mined))
    encoder = weights.build(weights.checkpoint_weights(workspace.path / row.weights_path))
    config, clock, pairs = MineConfig.of(mined), Clock(), set()
    images = {i.id: i for i in usable_images(workspace.store, mined.dataset_id)}
    boxes = {i: found.boxes for i, found in read.rois_of(workspace.store, mined.id, list(images)).items()}

    def embedded(image: Image) -> np.ndarray:
        with clock.measure("reading photos"):
            photo = read_image(photos.path(image))
        with clock.measure("cropping"):
            crops = np.stack([crop_box(photo, box) for box in boxes[image.id]])
        with clock.measure("forward passes"), torch.inference_mode():
            maps = encoder.backbone(encoder.normalise(crops).contiguous())
            return F.normalize(maps.mean((2, 3))).numpy()

    for query, neighbors in read.neighbor_ids_of(workspace.store, mined.id, queries).items():
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
    """Mine with this project's code, timed by phase."""
    clock = Clock()
    run = add_run(workspace.store, Run(kind="mine", name=name, params={})).id
    with monitor(clock):
        rows = dataset_named(workspace.store, NAME), encoder_named(workspace.store, encoder)
        mined = stage.mine(workspace, *rows, name, config, run_id=run, workers=2, progress=clock)
    clock.phase("", 0)
    return clock, mined


@contextmanager
def looking_inside(clock: Clock) -> Iterator[None]:
    """Time the forward passes of crops within a mining run."""
    embed = EncoderNetwork.embed_rois
    EncoderNetwork.embed_rois = clock.around("forward passes", embed)  # type: ignore[method-assign]
    try:
        yield
    finally:
        EncoderNetwork.embed_rois = embed  # type: ignore[method-assign]


def stored_pairs(workspace: Workspace, mined: CorrespondenceSet, queries: list[int]) -> Pairs:
    """Return the pairs of a set."""
    found: Pairs = set()
    for query in queries:
        neighbors = {n.rank: n.image.id for n in read.neighbors_of(workspace.store, mined.id, query)}
        for pair in read.pairs_of(workspace.store, mined.id, query):
            found.add((query, neighbors[pair.neighbor_rank], pair.query_box, pair.key_box))
    return found


def named(query: int, neighbor: int, boxes: dict[int, np.ndarray], one: np.ndarray, other: np.ndarray) -> Pairs:
    """Return pairs by their boxes."""
    left, right = boxes[query].tolist(), boxes[neighbor].tolist()
    return {(query, neighbor, tuple(left[q]), tuple(right[k])) for q, k in zip(one, other, strict=True)}


def pooled(workspace: Workspace, mined: CorrespondenceSet, photos: Photos) -> tuple[float, Pairs]:
    """Return seconds and pairs of RoIAlign on each photo's feature map, with the same neighbours and candidates."""
    row = encoder_named(workspace.store, encoder_name(workspace, mined))
    encoder, config = Features(workspace, row).encoder, MineConfig.of(mined)
    images = list(usable_images(workspace.store, mined.dataset_id))
    boxes = {i: r.boxes for i, r in read.rois_of(workspace.store, mined.id, [i.id for i in images]).items()}
    began = time.perf_counter()
    vectors = {i.id: encoder.pool_boxes(np.asarray(photos.read(i)), boxes[i.id]) for i in images}
    seconds, pairs = time.perf_counter() - began, set()
    near = read.neighbor_ids_of(workspace.store, mined.id, list(boxes))
    for query, neighbors in near.items():
        for neighbor in neighbors:
            best = top_pairs(vectors[query], vectors[neighbor], config.pair_ratio)
            pairs |= named(query, neighbor, boxes, best.query, best.key)
    return seconds, pairs


def compare_rois(workspace: Workspace, encoder: str, photos: Photos, count: int) -> dict[str, Any]:
    """Measure the RoI stage: the reference's, ours, ours in bfloat16, and with RoIAlign."""
    clock, mined = ours(workspace, encoder, encoder, MineConfig(), looking_inside)
    every = sorted(write.matched_images(workspace.store, mined.id))
    queries = [every[i] for i in np.linspace(0, len(every) - 1, min(count, len(every))).astype(int)]
    plain, expected = reference(workspace, mined, photos, queries)
    scale = len(every) / len(queries)
    theirs = {part: plain.seconds[part] * scale for part in PARTS}
    embedding, matching = clock.spent("Embedding RoIs"), clock.spent("Matching RoIs")
    parts = {
        "waiting for crops": embedding - clock.spent("forward passes"),
        "forward passes": clock.spent("forward passes"),
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
        "bf16": embedding / quick.spent("Embedding RoIs"),
        "bf16, same neighbours": len({p[:2] for p in exact} & near) / len({p[:2] for p in exact}),
        "bf16, same pairs of those": len(comparable & half) / len(comparable),
        "RoIAlign": embedding / align,
        "RoIAlign, same pairs": len(exact & approximate) / len(exact),
        "parts": {"reference": theirs, "ours": parts},
    }


def encoder_name(workspace: Workspace, mined: CorrespondenceSet) -> str:
    """Return the name of a set's encoder."""
    with workspace.store.session() as session:
        found = session.get(EncoderRow, mined.encoder_id)
        assert found is not None
        return found.name


def add(workspace: Workspace, encoder: str, images: list[Image], photos: Photos) -> None:
    """Return the starter, or a ResNet with seeded weights and batch norms fitted to the photos, at the same cost."""
    if encoder == "starter":
        weights.add(workspace, "starter", "starter")
        return
    torch.manual_seed(0)
    network = EncoderNetwork(encoder)
    norms = [m for m in network.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over the batches
    network.backbone.train()
    with torch.no_grad():
        for image in images[:4]:
            photo = photos.read(image)
            boxes = np.random.default_rng(image.id).integers(32, min(photo.size) // 2, (8, 4))
            network.backbone(network.normalise(np.stack([crop_box(photo, box) for box in boxes])))
    path = workspace.path / f"{encoder}.pt"
    torch.save(network.backbone.state_dict(), path)
    weights.add(workspace, str(path), encoder)
