"""The synthetic store that ``store_scale.py`` measures, written with the functions of ingest and mining."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from sqlalchemy import text

from orl_explorer.db import photos
from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.people import tags
from orl_explorer.db.people.selections import keep_selection
from orl_explorer.db.people.verdicts import judge_pair
from orl_explorer.db.photos import AnnotatedBox, FoundPhoto
from orl_explorer.db.proposals import add_proposals
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import read, write
from orl_explorer.db.sets.comparison import TwoSets
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs
from orl_explorer.db.store import Store
from orl_explorer.train.mining.compared import compare_sets
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.quality import measure_and_keep
from orl_explorer.train.workspace import Workspace

NAME, SETS = "synthetic", ("synthetic-one", "synthetic-two")
WIDTH, HEIGHT = 640, 480
BLOCK = 64  # images per transaction, as in mining
INGESTED = 256  # photos per transaction
CATEGORIES = 80
PICTURES = 256  # different photo files, with --with-photos
MAX_ROIS = 100
JUDGED = 500  # pairs with a verdict
DRAWN = 1024  # different arrays of random numbers; drawing more would take longer than writing
CONFIG = MineConfig()
BOTH = TwoSets(1, 2, 50)  # compared with the page's default


class Clock:
    """Wall time, CPU time and number of rows by table, in seconds. server: returns CPU seconds of the database."""

    def __init__(self, server: Callable[[], float] = lambda: 0.0) -> None:
        self.server = server
        self.seconds: dict[str, float] = defaultdict(float)
        self.busy: dict[str, float] = defaultdict(float)
        self.rows: dict[str, int] = defaultdict(int)

    @contextmanager
    def measure(self, table: str, rows: int = 0) -> Iterator[None]:
        """Time the writes of a block."""
        began, busy = time.perf_counter(), time.process_time() + self.server()
        yield
        self.seconds[table] += time.perf_counter() - began
        self.busy[table] += time.process_time() + self.server() - busy
        self.rows[table] += rows


def build(workspace: Workspace, size: argparse.Namespace, server: Callable[[], float] = lambda: 0.0) -> Clock:
    """Write the photos and the sets. The second shares the candidates and half of the neighbours of the first."""
    clock = Clock(server)
    store = workspace.store
    ids = _photos(workspace, size, clock)
    encoder = _encoder(workspace, size.with_photos)
    _proposals(store, ids, size, clock)
    for number, name in enumerate(SETS[: size.sets]):
        run = add_run(store, Run(kind="mine", name=name, params={}, status="done", dataset_id=1))
        mined = write.begin_set(store, name, 1, encoder, CONFIG.model_dump(), run.id)
        _mine(store, mined.id, ids, size, number, clock)
        with clock.measure(f"quality of {name}"):
            annotated = photos.dataset_by_id(store, 1).annotation_count
            measure_and_keep(store, mined.id, annotated)
        with clock.measure(f"publication of {name}"):
            write.publish_set(store, mined.id)
    mark(store, ids, clock)
    if size.sets == 2:
        with clock.measure("comparison of both"):
            compare_sets(store, BOTH)
    return clock


def mark(store: Store, ids: np.ndarray, clock: Clock) -> None:
    """Write tags for a tenth of the photos, verdicts and tags for some pairs of the first set, and a selection."""
    rng = np.random.default_rng(6)
    tagged = rng.permutation(ids)[: max(1, len(ids) // 10)].tolist()
    with clock.measure("tag", len(tagged)):
        tags.tag_photos(store, tagged, "night", "someone")
    keep_selection(store, 1, rng.permutation(ids)[: max(1, len(ids) // 10)])
    first = {i: pairs[0] for i, pairs in read.pair_rows(store, 1, tagged[:JUDGED]).items() if pairs}
    with clock.measure("verdict, tag of a pair", 2 * len(first)):
        for number, pair in enumerate(first.values()):
            verdict = ("good", "wrong", "interesting")[number % 3]
            judge_pair(store, pair.query_roi_id, pair.key_roi_id, verdict, "someone")  # type: ignore[arg-type]
            tags.tag_pair(store, pair.query_roi_id, pair.key_roi_id, "odd", "someone")


def _photos(workspace: Workspace, size: argparse.Namespace, clock: Clock) -> np.ndarray:
    store, rng = workspace.store, np.random.default_rng(0)
    folder = workspace.path / "photos"
    dataset = photos.ensure_dataset(store, NAME, str(folder), "coco")
    numbers = np.sort(rng.choice(5 * size.images, size.images, replace=False))
    paths = [f"{number:012d}.jpg" for number in numbers]
    stamps = _files(folder, paths) if size.with_photos else [(150_000, 1_500_000_000_000_000_000)] * len(paths)
    files = list(zip(paths, stamps, strict=True))
    common = 1 / np.arange(1, CATEGORIES + 1)
    common /= common.sum()
    for start in range(0, size.images, INGESTED):
        batch = []
        for path, (length, mtime) in files[start : start + INGESTED]:
            kinds = rng.choice(CATEGORIES, rng.poisson(7), p=common)
            where = rng.integers(0, (WIDTH - 100, HEIGHT - 100), (len(kinds), 2)).tolist()
            boxes = tuple(
                AnnotatedBox(f"kind {kind:02d}", x, y, 100, 100) for kind, (x, y) in zip(kinds, where, strict=True)
            )
            digest = int(rng.integers(1, 2**63 - 1))
            batch.append(FoundPhoto(path, WIDTH, HEIGHT, 1, length, mtime, None, boxes, digest))
        with clock.measure("image, annotation", len(batch) + sum(len(photo.boxes) for photo in batch)):
            photos.add_photos(store, dataset.id, batch, {})
    with clock.measure("counts of the dataset"):
        photos.count_photos(store, dataset.id)
    return np.array([image.id for image in photos.usable_images(store, dataset.id)])


def _files(folder: Path, paths: list[str]) -> list[tuple[int, int]]:
    """Write a few small JPEG files under the names of all photos."""
    folder.mkdir(parents=True)
    rng, stamps = np.random.default_rng(1), []
    for i, path in enumerate(paths):
        if i < PICTURES:
            coarse = Picture.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
            coarse.resize((WIDTH, HEIGHT), Picture.Resampling.BICUBIC).save(folder / path, quality=80)
        else:
            (folder / path).hardlink_to(folder / paths[i % PICTURES])
        found = (folder / path).stat()
        stamps.append((found.st_size, found.st_mtime_ns))
    return stamps


def _encoder(workspace: Workspace, usable: bool) -> int:
    if usable:
        from orl_explorer.train.encoders.weights import add

        return add(workspace, "starter", "starter").id
    row = Encoder(name="none", architecture="none", kind="imported", supervised=False, weights_sha256="0" * 64)
    row.weights_path, row.image_features, row.roi_features = "none.pt", 256, 2048
    return add_encoder(workspace.store, row).id


@lru_cache(maxsize=DRAWN)
def _drawn_boxes(number: int, rois: int, raw: int) -> tuple[np.ndarray, int]:
    rng = np.random.default_rng([2, number])
    stride = 40 if rois > 50 else 60  # keeps the IoU of adjacent places below 0.5
    across, down = np.meshgrid(np.arange(0, WIDTH - 112, stride), np.arange(0, HEIGHT - 112, stride))
    places = np.stack([across, down], -1).reshape(-1, 2)
    count = int(np.clip(rng.normal(rois, rois / 6), 1, min(MAX_ROIS, len(places))))
    large = np.concatenate([rng.permutation(places)[:count], rng.integers(100, 106, (count, 2))], 1)
    large[:, :2] += rng.integers(0, 6, (count, 2))
    small = rng.integers((0, 0, 8, 8), (WIDTH - 96, HEIGHT - 96, 96, 96), (max(0, raw - count), 4))
    return np.concatenate([large, small]).astype(np.int16), count


def _boxes(image: int, size: argparse.Namespace) -> tuple[np.ndarray, int]:
    """Return the raw boxes of an image, and how many of the first ones pass the paper's filter: about ``--rois``."""
    return _drawn_boxes(image * 7919 % DRAWN, size.rois, size.raw)


def _proposals(store: Store, ids: np.ndarray, size: argparse.Namespace, clock: Clock) -> None:
    for start in range(0, len(ids), BLOCK):
        raw = {int(image): _boxes(int(image), size)[0] for image in ids[start : start + BLOCK]}
        with clock.measure("proposal", len(raw)):
            add_proposals(store, CONFIG.method, raw)


def _mine(store: Store, set_id: int, ids: np.ndarray, size: argparse.Namespace, number: int, clock: Clock) -> None:
    for start in range(0, len(ids), BLOCK):
        batch = []
        for image in ids[start : start + BLOCK].tolist():
            boxes, count = _boxes(image, size)
            batch.append(CandidateRows(image, boxes[:count], len(boxes), False))
        total = sum(len(found.boxes) for found in batch)
        with clock.measure("roi, candidate" if not number else "candidate, RoIs known", total * (2 - number)):
            write.add_candidates(store, set_id, batch)

    rng = np.random.default_rng([3])
    # Steps whose sum is below the number of photos: no photo twice, and none its own neighbour.
    furthest = max(2, len(ids) // (2 * CONFIG.neighbors))
    near = rng.integers(1, furthest, (len(ids), 2 * CONFIG.neighbors)).cumsum(1)
    if number:  # the neighbours of ranks 6 to 10 differ
        half = CONFIG.neighbors // 2
        near[:, half : 2 * half] = near[:, 2 * half : 3 * half]
    near = (near[:, : CONFIG.neighbors] + np.arange(len(ids))[:, None]) % len(ids)
    cosine = np.sort(rng.random(near.shape, np.float32), axis=1)[:, ::-1]
    with clock.measure("neighbor of the second set" if number else "neighbor", near.size):
        write.add_neighbors(store, set_id, ids, ids[near], cosine)

    rois, start_of = _roi_ids(store, set_id, ids)
    for start in range(0, len(ids), BLOCK):
        block = [
            _pairs(int(ids[i]), [rois[slice(*start_of[j : j + 2])] for j in (i, *near[i])], size)
            for i in range(start, min(start + BLOCK, len(ids)))
        ]
        rows = sum(len(found.similarity) for mined in block for found in mined.pairs)
        with clock.measure("pair" if not number else "pair of the second set", rows):
            write.add_pairs(store, set_id, block)


def _roi_ids(store: Store, set_id: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    question = text("SELECT image_id, roi_id FROM candidate WHERE set_id = :of ORDER BY image_id, rank")
    with store.session() as session:
        found = session.execute(question, {"of": set_id}).partitions(50_000)
        rows = np.concatenate([np.array([tuple(row) for row in block], np.int64) for block in found])
    return rows[:, 1], np.append(np.searchsorted(rows[:, 0], ids), len(rows))


@lru_cache
def _drawn_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Return numbers in [0, 1) that choose keys, and falling similarities: float32 [DRAWN, 100] each."""
    rng = np.random.default_rng(4)
    similar = np.sort(rng.normal(0.6, 0.15, (DRAWN, 100)).clip(-1, 1).astype(np.float32))[:, ::-1]
    return rng.random((DRAWN, 100), np.float32), similar


@lru_cache
def _drawn_queries(count: int) -> np.ndarray:
    return np.random.default_rng([5, count]).permuted(np.tile(np.arange(count), (64, 1)), axis=1)


def _pairs(image: int, rois: list[np.ndarray], size: argparse.Namespace) -> MinedImage:
    query, *keys = rois
    count = max(1, round(size.pairs / size.rois * len(query)))
    which, similar = _drawn_pairs()
    found = []
    for rank, key in enumerate(keys, 1):
        one = (image * 7919 + int(key[0])) % DRAWN  # equal for the same two images in both sets
        q, k = _drawn_queries(len(query))[one % 64][:count], (which[one, :count] * len(key)).astype(np.int64)
        cosine = similar[one, :count]
        found.append(MinedPairs(rank, query[q], key[k], cosine, cosine / 16, cosine > 0.6))
    return MinedImage(image, tuple(found))
