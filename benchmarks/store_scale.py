"""Measure a store of COCO train2017's size: writing, size on disk, and the queries of every page.

    python benchmarks/store_scale.py --images 118287 --workspace DIR

Builds synthetic photos and two correspondence sets with the functions of ingest and mining, then runs the queries of
the pages in a new process, whose caches are empty. An existing workspace is only read. Without --workspace, a small
one is built in a temporary folder and deleted.

Sizes, boxes, neighbours and similarities are drawn from a seeded generator, at a COCO-like scale. There are fewer raw
proposals (--raw) than selective search's 1600 per image; they are blobs, which no page's query scans.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich import print as show
from rich.table import Table
from synthetic_store import BOTH, CATEGORIES, CONFIG, Clock, build
from two_databases import compare

from orl_explorer.db import photos
from orl_explorer.db.encoders import encoder_by_id, encoders
from orl_explorer.db.gallery import order as gallery
from orl_explorer.db.people.tags import tags_of_pairs
from orl_explorer.db.people.verdicts import verdicts_of, verdicts_on
from orl_explorer.db.proposals import proposals_of
from orl_explorer.db.runs.runs import latest_metrics, runs
from orl_explorer.db.sets import comparison
from orl_explorer.db.sets import read as correspondences
from orl_explorer.db.sets.pairs import matches_at
from orl_explorer.db.store import Store
from orl_explorer.train.mining.compared import pair_differences
from orl_explorer.train.mining.orders import MatchOrder, Sort, make_matches, match_keys, match_rows, orders_of
from orl_explorer.train.mining.quality import measure
from orl_explorer.train.mining.sample import sample_of, saved
from orl_explorer.train.workspace import Workspace, open_workspace

SAMPLED = 24  # queries of a sample

# Reading -----------------------------------------------------------------------------------------------

Ask = Callable[[Store, np.random.Generator, list[int]], object]


def _gallery(by: str, descending: bool = False, **chosen: object) -> Ask:
    def ask(store: Store, rng: np.random.Generator, ids: list[int]) -> object:
        drawn: dict[str, Any] = {key: value(rng) if callable(value) else value for key, value in chosen.items()}
        order = gallery.GalleryOrder(1, 1, by, descending, **drawn)
        total = gallery.gallery_count(store, order)
        return gallery.gallery_page(store, order, int(rng.integers(0, max(1, total))) // 48 * 48, 48)

    return ask


def _matches(sort: Sort, descending: bool = False, **chosen: object) -> Ask:
    def ask(store: Store, rng: np.random.Generator, ids: list[int]) -> object:
        assert store.engine.url.database is not None
        workspace = Workspace(Path(store.engine.url.database).parent, store)
        mined = correspondences.set_by_id(store, 1)
        assert mined is not None
        found = orders_of(workspace, mined)
        assert found is not None
        drawn: dict[str, Any] = {key: value(rng) if callable(value) else value for key, value in chosen.items()}
        rows = match_rows(workspace, mined, found, MatchOrder(sort, descending, **drawn))
        keys = match_keys(found, rows, int(rng.integers(0, max(1, len(rows)))) // 36 * 36, 36)
        cards = matches_at(store, 1, keys)
        pairs = [(card.query_roi_id, card.key_roi_id) for card in cards]
        return verdicts_on(store, pairs, "someone"), tags_of_pairs(store, pairs)

    return ask


def _step(store: Store, rng: np.random.Generator, ids: list[int]) -> object:
    return gallery.step(store, gallery.GalleryOrder(1, 1, "similarity"), _any(rng, ids), True)


def _pair_page(store: Store, rng: np.random.Generator, ids: list[int]) -> object:
    """Run all queries of app/pages/pair/page.py and app/explorer/preview.py for one query photo."""
    image = _any(rng, ids)
    photos.image_by_id(store, image)
    mined = next(s for s in correspondences.sets(store) if s.id == 1)
    encoder_by_id(store, mined.encoder_id)
    involved = [image, *(n.image.id for n in correspondences.neighbors_of(store, 1, image))]
    proposals_of(store, involved, CONFIG.method)
    verdicts_of(store, image, "someone")
    following = gallery.step(store, gallery.GalleryOrder(1, 1, "pairs"), image, True)
    return photos.image_by_id(store, following or image), encoders(store), runs(store)


def _tune(store: Store, rng: np.random.Generator, ids: list[int]) -> object:
    """Run the Tune page's queries for a new sample. Features and matching do not depend on the number of photos."""
    workspace, mined = Workspace(Path(), store), correspondences.set_by_id(store, 1)
    assert mined is not None
    queries = np.sort(rng.choice(ids, min(len(ids), SAMPLED), replace=False))
    unused: Any = None  # features, of which none are read for the set's own K
    found = sample_of(workspace, mined, unused, queries, int(mined.params["neighbors"]))
    proposals_of(store, list(found.images), CONFIG.method)
    return saved(workspace, mined, found)


def _deep(store: Store, rng: np.random.Generator, ids: list[int]) -> object:
    there = comparison.ImageOverlap(_any(rng, ids), 0, 0, float(rng.random()))
    return comparison.least_alike(store, BOTH, 48, there)


def _two_on_a_photo(store: Store, rng: np.random.Generator, ids: list[int]) -> object:
    image = _any(rng, ids)
    first, second = (correspondences.pair_rows(store, s, [image])[image] for s in (BOTH.first, BOTH.second))
    return pair_differences(first, second, BOTH.percent)


def _any(rng: np.random.Generator, ids: list[int]) -> int:
    return ids[int(rng.integers(0, len(ids)))]


def _digits(count: int) -> Callable[[np.random.Generator], str]:
    return lambda rng: "".join(map(str, rng.integers(0, 10, count)))


def _category(rng: np.random.Generator) -> str:
    return f"kind {int(rng.integers(0, CATEGORIES)):02d}"


ASKED: dict[str, Ask] = {
    **{
        f"gallery by {by}{', descending' if down else ''}": _gallery(by, down)
        for by in ("name", "pairs", "similarity", "regions", "cycle", "margin")
        for down in (False, True)
    },
    "gallery by random, one seed": _gallery("random", seed=7),
    "gallery by random, a new seed each time": _gallery("random", seed=lambda rng: int(rng.integers(0, 2**31))),
    "gallery by name, search of 2 digits": _gallery("name", search=_digits(2)),
    "gallery by name, search of 3 digits": _gallery("name", search=_digits(3)),
    "gallery by name, descending, search of 4 digits": _gallery("name", True, search=_digits(4)),
    "gallery by pairs, search of 3 digits": _gallery("pairs", search=_digits(3)),
    "gallery by name, search that all match": _gallery("name", search="jpg"),
    "gallery by similarity, any category": _gallery("similarity", category=_category),
    "gallery by random, most common category": _gallery("random", seed=3, category="kind 00"),
    "gallery by name, at least some pairs": _gallery("name", fewest_pairs=lambda rng: int(rng.integers(1, 60))),
    "gallery by pairs, category and pairs and search": _gallery(
        "pairs", category=_category, fewest_pairs=20, search=_digits(2)
    ),
    "gallery by similarity, a tag": _gallery("similarity", tag="night"),
    "gallery by name, judged pairs": _gallery("name", verdict="any"),
    "gallery by cycle, no judged pair": _gallery("cycle", verdict="none"),
    "gallery by margin, a selection": _gallery("margin", selection=1),
    "gallery by pairs, tag and category and search": _gallery(
        "pairs", tag="night", category=_category, search=_digits(2)
    ),
    "matches by similarity": _matches("similarity"),
    "matches by similarity, descending": _matches("similarity", True),
    "matches by margin": _matches("margin"),
    "matches by margin, descending": _matches("margin", True),
    "matches by cycle": _matches("cycle"),
    "matches by similarity, at least some": _matches("similarity", least=lambda rng: float(rng.uniform(0.2, 0.9))),
    "matches by margin, most common category": _matches("margin", category="kind 00"),
    "matches by similarity, any category": _matches("similarity", category=_category),
    "matches by cycle, no verdict": _matches("cycle", verdict="none"),
    "matches by margin, wrong ones": _matches("margin", verdict="wrong"),
    "matches by similarity, a tag": _matches("similarity", tag="odd"),
    "next photo by similarity": _step,
    "pair page, all its reads": _pair_page,
    f"sample of {SAMPLED} queries for Tune": _tune,
    "a photo's neighbours": lambda store, rng, ids: correspondences.neighbors_of(store, 1, _any(rng, ids)),
    "a photo's pairs with boxes": lambda store, rng, ids: correspondences.pairs_of(store, 1, _any(rng, ids)),
    "a photo's candidates": lambda store, rng, ids: correspondences.rois_of(store, 1, [_any(rng, ids)]),
    "a photo's annotations": lambda store, rng, ids: photos.annotations_of(store, _any(rng, ids)),
    "datasets and categories": lambda store, rng, ids: photos.datasets(store),
    "sets with histograms and quality": lambda store, rng, ids: correspondences.sets(store),
    "runs and their newest metrics": lambda store, rng, ids: (runs(store), latest_metrics(store, 1)),
}
COMPARED: dict[str, Ask] = {
    "two sets on a photo": _two_on_a_photo,
    "two sets as wholes, kept": lambda store, rng, ids: comparison.kept_comparison(store, BOTH),
    "photos on which two sets differ most": lambda store, rng, ids: comparison.least_alike(store, BOTH, 48),
    "the same, from anywhere on": _deep,
}


@dataclass(frozen=True)
class Answered:
    """The milliseconds of one query: the first time, with empty caches, and quantiles of later times.

    busy: the 95 % quantile of CPU time, which other processes affect less.
    """

    question: str
    first: float
    p50: float
    p95: float
    busy: float


def read(folder: Path, repeats: int) -> tuple[list[Answered], float, float]:
    """Run every query so often. Also return the peak resident memory, and the part without mapped files, in MB."""
    store = open_workspace(folder).store
    ids = gallery.gallery_ids(store, gallery.GalleryOrder(1)).tolist()
    for kept in (gallery._gallery_ids, gallery._sorted, gallery._names):
        kept.cache_clear()  # so that the gallery's first page includes its cost
    found = []
    for question, ask in (ASKED | COMPARED if len(correspondences.sets(store)) > 1 else ASKED).items():
        rng, times = np.random.default_rng(5), []
        for _ in range(repeats + 1):
            began, busy = time.perf_counter(), time.process_time()
            ask(store, rng, ids)
            times.append((time.perf_counter() - began, time.process_time() - busy))
        wall, cpu = 1000 * np.array(times).T
        middle, most = np.quantile(wall[1:], [0.5, 0.95]).tolist()
        found.append(Answered(question, float(wall[0]), middle, most, float(np.quantile(cpu[1:], 0.95))))
    return found, most_memory(), own_memory()


def order_alone(folder: Path) -> tuple[float, float, float, float]:
    """Return seconds, CPU seconds, peak memory in MB and size in GB of building the orders of the first set's pairs."""
    workspace = open_workspace(folder)
    mined = correspondences.set_by_id(workspace.store, 1)
    assert mined is not None
    began, busy = time.perf_counter(), time.process_time()
    make_matches(workspace, mined)
    took = time.perf_counter() - began, time.process_time() - busy
    return *took, most_memory(), sum(f.stat().st_size for f in (workspace.orders / "1").iterdir()) / 1e9


def most_memory() -> float:
    """Return the peak resident memory of this process in MB. ``getrusage`` would include its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def own_memory() -> float:
    """Return the resident memory of this process in MB without mapped files, which the system can release."""
    memory = psutil.Process().memory_info()
    return (memory.rss - getattr(memory, "shared", 0)) / 1e6  # only Linux reports it


def quality_alone(folder: Path) -> tuple[float, float, float]:
    """Return seconds, CPU seconds and peak memory in MB of measuring the first set, in a process of its own."""
    store = open_workspace(folder).store
    began, busy = time.perf_counter(), time.process_time()
    measure(store, 1, annotated=photos.dataset_by_id(store, 1).annotation_count > 0)
    took = time.perf_counter() - began, time.process_time() - busy
    return *took, most_memory()


def alone(work: Callable[..., Any], *arguments: object) -> Any:
    """Run a function in a new process, so that its memory can be measured."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


# Reporting ---------------------------------------------------------------------------------------------


def main() -> None:
    """Build the store if needed, run the queries, print the table, and write --json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rois", type=int, default=40, help="approximate RoIs per image")
    parser.add_argument("--pairs", type=int, default=4, help="approximate pairs per neighbour, of 10")
    parser.add_argument("--sets", type=int, choices=(1, 2), default=2, help="with 1, no sets are compared")
    parser.add_argument("--raw", type=int, default=200, help="raw boxes per image")
    parser.add_argument("--with-photos", action="store_true", help="write small JPEG files for the explorer")
    parser.add_argument("--workspace", type=Path, help="workspace to build, or to read if it exists")
    parser.add_argument("--repeats", type=int, default=200, help="repetitions of each query")
    parser.add_argument("--quality", action="store_true", help="also time the measures of the first set")
    parser.add_argument("--orders", action="store_true", help="also time the orders of the first set's pairs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--database", help="address of an empty PostgreSQL database, to compare with SQLite in turns")
    parser.add_argument("--turns", type=int, default=3, help="with --database, how often both stores are built")
    arguments = parser.parse_args()
    if arguments.database:
        compare(arguments, {name: ask for name, ask in (ASKED | COMPARED).items() if not name.startswith("matches")})
        return
    with tempfile.TemporaryDirectory() as temporary:
        report(arguments, arguments.workspace or Path(temporary))


def report(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure and print everything about one workspace."""
    result: dict[str, object] = {}
    workspace = open_workspace(folder)
    if not photos.datasets(workspace.store):
        began = time.perf_counter()
        clock = build(workspace, arguments)
        took = time.perf_counter() - began
        show(_table(["written", "rows", "s", "CPU s", "rows/CPU s"], _written(clock)))
        total, busy = sum(clock.seconds.values()), sum(clock.busy.values())
        show(f"{total:.0f} s of writing, of which {busy:.0f} s CPU; {took:.0f} s including the generation of the data")
        result["written"] = {
            name: {"rows": clock.rows[name], "seconds": s, "cpu": clock.busy[name]} for name, s in clock.seconds.items()
        }
    workspace.store.close()  # folds the write-ahead log into the file
    size = (folder / "orl.sqlite").stat().st_size / 1e9
    if arguments.orders or not (workspace.orders / "1").is_dir():
        seconds, busy, memory, gigabytes = alone(order_alone, folder)
        show(
            f"orders of one set's pairs: {seconds:.0f} s, of which {busy:.0f} s CPU, at most {memory:.0f} MB; "
            f"{gigabytes:.2f} GB on disk"
        )
        result["orders"] = {"seconds": seconds, "cpu": busy, "mb": memory, "gb": gigabytes}
    answers, memory, own = alone(read, folder, arguments.repeats)
    rows = [[a.question, *(f"{t:.1f}" for t in (a.first, a.p50, a.p95, a.busy))] for a in answers]
    show(_table(["query", "first ms", "p50 ms", "p95 ms", "p95 CPU ms"], rows))
    show(
        f"file {size:.2f} GB; resident memory of the reader at most {memory:.0f} MB, {own:.0f} MB without mapped files"
    )
    result |= {"file_gb": size, "reader_mb": memory, "reader_own_mb": own, "answers": [a.__dict__ for a in answers]}
    if arguments.quality:
        seconds, busy, memory = alone(quality_alone, folder)
        show(f"quality of one set: {seconds:.0f} s, of which {busy:.0f} s CPU, at most {memory:.0f} MB")
        result["quality"] = {"seconds": seconds, "cpu": busy, "mb": memory}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


def _written(clock: Clock) -> list[list[str]]:
    table = []
    for name, seconds in clock.seconds.items():
        rows, busy = clock.rows[name], clock.busy[name]
        speed = f"{rows / busy:,.0f}" if rows else ""
        table.append([name, f"{rows:,}" if rows else "", f"{seconds:.1f}", f"{busy:.1f}", speed])
    return table


def _table(heads: list[str], rows: list[list[str]]) -> Table:
    table = Table(*heads)
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
