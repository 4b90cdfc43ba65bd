"""Measure search by example: the recall of the index of a large set, and response times in a browser.

    python benchmarks/search.py --images 118287 --workspace DIR --real WORKSPACE SET

Measures the recall on the real set, whose RoIs are compared as if it were large. Then builds a synthetic store of any
size, or uses DIR if it was built so before. The features of its RoIs are mixtures of those of the real set, different
for each RoI: 118,287 photos need 22 GB for them. Starts ``orl explore`` and draws boxes in Chromium. Times run from the
end of the drag until other RoIs are on screen. Without --real, the demo is mined, and without --workspace, a small
store is built; both in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from explorer import Watched, served
from playwright.sync_api import Page, sync_playwright
from rich import print as show
from rich.table import Table
from synthetic_store import SETS, build

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.orl.compact import Components, rows_to_learn_from
from orl_explorer.train.demo.build import SET, build_demo
from orl_explorer.train.jobs.launcher import wait
from orl_explorer.train.mining import search_index
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.search import Filters, search_rois
from orl_explorer.train.mining.search_index import SetIndex, index_of_set
from orl_explorer.train.workspace import Workspace, open_workspace

NEAREST = 50  # RoIs of which the index should find all
QUERIES = 100  # RoIs that are searched with
AT_ONCE = 16_384  # features written at once
MIXED = (0.2, 0.8)  # range of the share of the difference of two features that is added to a third


def features_of(workspace: Workspace, mined: CorrespondenceSet) -> Features:
    """Return the features that a set was mined with."""
    return Features(workspace, encoder_by_id(workspace.store, mined.encoder_id))


def mixtures(real: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield unit rows, float32: each a real feature and a part of the difference of two others."""
    for start in range(0, count, AT_ONCE):
        rng, some = np.random.default_rng([7, start]), min(AT_ONCE, count - start)
        one, other, third = (real[rng.integers(len(real), size=some)] for _ in range(3))
        mixed = one + rng.uniform(*MIXED, (some, 1)).astype(np.float32) * (other - third)
        yield mixed / np.linalg.norm(mixed, axis=1, keepdims=True)


def write_features(workspace: Workspace, mined: CorrespondenceSet, real: np.ndarray) -> None:
    """Write the features of all RoIs of a set, if they are not there."""
    stored, keys = features_of(workspace, mined).rois, all_rois(workspace, mined).keys
    if stored.missing(keys):
        starts = range(0, len(keys), AT_ONCE)
        stored.add((keys[a : a + AT_ONCE], rows) for a, rows in zip(starts, mixtures(real, len(keys)), strict=True))


def all_rois(workspace: Workspace, mined: CorrespondenceSet) -> SetIndex:
    """Return the RoIs of a set without codes, of any size."""
    return search_index._plain.__wrapped__(workspace, mined.id, mined.dataset_id, -1)


def queries_of(index: SetIndex) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of RoIs to search with, and the ids of their photos."""
    rows = np.sort(np.random.default_rng(3).permutation(len(index.keys))[:QUERIES])
    return rows, index.image_of(rows)


def nearest(index: SetIndex, features: Features, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the rows of the nearest RoIs in other photos by comparing all: int64 [n, NEAREST]."""
    vectors = np.array(features.rois.get(index.keys[rows]))
    similar, found = np.full((len(rows), NEAREST), -2, np.float32), np.zeros((len(rows), NEAREST), np.int64)
    for start in range(0, len(index.keys), AT_ONCE):
        here = np.arange(start, min(start + AT_ONCE, len(index.keys)))
        cosines = vectors @ features.rois.get(index.keys[here]).T
        cosines[images[:, None] == index.image_of(here)] = -2
        similar = np.concatenate([similar, cosines], axis=1)
        found = np.concatenate([found, np.broadcast_to(here, cosines.shape)], axis=1)
        best = np.argpartition(-similar, NEAREST, axis=1)[:, :NEAREST]
        similar, found = np.take_along_axis(similar, best, axis=1), np.take_along_axis(found, best, axis=1)
    return found


def recall(workspace: Workspace, mined: CorrespondenceSet, name: str) -> None:
    """Make the index of a set, and print its size, the share of the nearest RoIs that it finds, and seconds."""
    features, all_until = features_of(workspace, mined), search_index.ALL
    search_index.ALL = 0
    search_index.drop_index(workspace, mined.id)
    began = time.perf_counter()
    index = index_of_set(workspace, mined, features)
    made = time.perf_counter() - began
    rows, images = queries_of(index)
    exact, shares, took = nearest(index, features, rows, images), [], []
    for at, (row, image) in enumerate(zip(rows.tolist(), images.tolist(), strict=True)):
        vector = np.array(features.rois.get(index.keys[row : row + 1])[0])
        began = time.perf_counter()
        found = search_rois(index, features, vector, Filters(without=image))
        took.append(time.perf_counter() - began)
        shares.append(np.isin(exact[at], found.rows[:NEAREST]).mean())
    size = sum(file.stat().st_size for file in (workspace.search / str(mined.id)).iterdir())
    p50, p95 = np.percentile(took, [50, 95]) * 1000
    show(
        f"{name}: {len(index.keys):,} RoIs, index of {size / 1e6:,.0f} MB made in {made:.0f} s. Recall@{NEAREST} of "
        f"{len(rows)} searches: mean {np.mean(shares):.4f}, least {np.min(shares):.2f}. "
        f"A search takes {p50:.0f} ms (p50), {p95:.0f} ms (p95)."
    )
    search_index.ALL = all_until


def spectrum(real: np.ndarray) -> None:
    """Print how much of the variance of features the first components hold."""
    table = Table("components", "share of the variance")
    sample = real[rows_to_learn_from(len(real))]
    whole = float(((sample - sample.mean(axis=0)) ** 2).sum())
    for count in (32, 64, 128, 256):
        found = Components.of(sample, count)
        table.add_row(str(count), f"{float((((sample - found.mean) @ found.axes) ** 2).sum()) / whole:.2f}")
    show(table)


def draw(page: Page, seen: Watched, rng: np.random.Generator) -> None:
    """Draw a random box on the photo and wait for its answer."""
    place = page.locator("svg.photo").bounding_box()
    assert place is not None
    left, top = rng.uniform(0.02, 0.5, 2)
    right, bottom = left + rng.uniform(0.15, 0.45), top + rng.uniform(0.15, 0.45)
    page.mouse.move(place["x"] + left * place["width"], place["y"] + top * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + right * place["width"], place["y"] + bottom * place["height"], steps=4)
    seen.until_changed("a drawn box", ".results .facts", page.mouse.up)


def look(
    page: Page, address: str, server: psutil.Process, name: str, photo: int, repeats: int
) -> tuple[Watched, float]:
    """Search in a browser. Return the times, and the CPU seconds of the server for a drawn box."""
    seen, rng = Watched(page), np.random.default_rng(5)
    opened = f"{address}/search?set={name}&q={photo}"
    seen.until_there("search, opened", ".results .open", lambda: page.goto(opened))
    began = sum(server.cpu_times()[:2])
    for _ in range(repeats):
        seen.rest()
        draw(page, seen, rng)
    busy = (sum(server.cpu_times()[:2]) - began) / repeats
    for _ in range(min(repeats, 15)):
        seen.rest()
        seen.until_changed("next page of what was found", ".results .facts", page.get_by_label("Next page").click)
    for number in range(min(repeats, 20)):
        seen.rest()
        again = page.locator(".results .open").nth(number)
        again.focus()
        seen.until_changed("search with a RoI that was found", ".results .facts", partial(page.keyboard.press, "s"))
    return seen, busy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--workspace", type=Path, help="workspace to build, or to use if it exists")
    parser.add_argument("--real", nargs=2, metavar=("WORKSPACE", "SET"), help="set of real photos")
    parser.add_argument("--repeats", type=int, default=60, help="boxes to draw")
    parser.add_argument("--only-times", action="store_true", help="do not measure the recall again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        known = open_workspace(Path(given.real[0]) if given.real else Path(temporary) / "demo")
        if not given.real:
            run = build_demo(known)
            assert run is None or wait(known, run.id).status == "done", "mining the demo failed"
        mined = complete_set_named(known.store, given.real[1] if given.real else SET)
        real = np.array(features_of(known, mined).rois.get(all_rois(known, mined).keys))
        if not given.only_times:
            spectrum(real)
            recall(known, mined, f"Real set {mined.name}")
        folder = given.workspace or Path(temporary) / "workspace"
        new = not (folder / "orl.sqlite").exists()
        workspace = open_workspace(folder)
        if new:
            build(
                workspace, argparse.Namespace(images=given.images, rois=36, pairs=1, sets=1, raw=40, with_photos=True)
            )
        large = complete_set_named(workspace.store, SETS[0])
        write_features(workspace, large, real)
        if not given.only_times:
            recall(workspace, large, "Synthetic set")
        photo = int(all_rois(workspace, large).rois.images[0])
        workspace.store.close()
        with served(folder) as (address, server, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            seen, busy = look(page, address, server, large.name, photo, given.repeats)
            taken = server.memory_info()
            memory = (taken.rss - taken.shared) / 1e6  # without files that are mapped
            browser.close()
    table = Table("from the key or click until it is on screen", "times", "p50, ms", "p95, ms")
    for what, times in seen.times.items():
        p50, p95 = np.percentile(times, [50, 95]) * 1000
        table.add_row(what, str(len(times)), f"{p50:.0f}", f"{p95:.0f}" if len(times) > 1 else "")
    show(table)
    show(f"A drawn box took {busy:.2f} s of the server's CPU. Its memory, without mapped files: {memory:.0f} MB.")


if __name__ == "__main__":
    main()
