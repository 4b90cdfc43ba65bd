"""Measure the response times of the explorer in a browser, on a store of any size.

    python benchmarks/explorer.py --images 118287 --workspace DIR

Builds the synthetic store of ``store_scale.py``, or uses DIR if it was built with --with-photos. Writes features for
the photos to be opened, starts ``orl explore`` and controls it in Chromium. Times run from the key or click until the
result is on screen. Without arguments, a small store is built in a temporary folder and deleted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rich import print as show
from rich.table import Table
from synthetic_store import SETS, build

from orl_explorer.app.explorer import opened
from orl_explorer.app.server import pictures
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.gallery.order import GalleryOrder, gallery_ids
from orl_explorer.db.photos import dataset_by_id, digests_of, usable_images
from orl_explorer.db.sets.read import find_set, neighbors_of, set_rois
from orl_explorer.orl.pixels import crop_box, read_image
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.embeddings import DTYPE, VERSION
from orl_explorer.train.mining.features import roi_keys
from orl_explorer.train.mining.maps import Map, MapOf, keep_map, map_state, points_of
from orl_explorer.train.workspace import Workspace, open_workspace

FOUND = """([selector, skip]) => {
  const every = (root) => [...root.querySelectorAll(selector),
    ...[...root.querySelectorAll("*")].flatMap((e) => (e.shadowRoot ? every(e.shadowRoot) : []))];
  return every(document).slice(skip).map((e) => e.textContent).join("|");
}"""
CHANGED = f"([selector, skip, before]) => {{ const now = ({FOUND})([selector, skip]); return now && now !== before; }}"
FRAMES = """() => {
  window.frames_took = [];
  let last = performance.now();
  const next = (now) => { window.frames_took.push(now - last); last = now; requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""
HOVERS = 40
NEIGHBORS = 10
CROPS = 72  # on a page of matches
CROPPED = 24  # photos of these crops
PHOTOS = ((640, 480), (4000, 3000))  # sizes of COCO and of cameras


class Features:
    """Writes some features to the files of ``train.embeddings``; the rest of the files are holes.

    The features of all RoIs of COCO would fill a disk, but a page reads only those of a few photos.
    """

    def __init__(self, kind: str, keys: np.ndarray, width: int, sha: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        header, stem = {"dtype": DTYPE, "width": width, "weights_sha256": sha}, f"{kind}-{VERSION}"
        (folder / f"{stem}.json").write_text(json.dumps(header, indent=1))
        self._keys = np.unique(keys)
        self._keys.astype("<i8").tofile(folder / f"{stem}.keys")
        path = folder / f"{stem}.vectors"
        with path.open("wb") as file:
            file.truncate(len(self._keys) * width * 4)
        self._rows = np.memmap(path, DTYPE, "r+", shape=(len(self._keys), width))

    def fill(self, keys: np.ndarray) -> None:
        """Return random unit vectors for keys. Equal keys have equal vectors."""
        for key, row in zip(keys.tolist(), np.searchsorted(self._keys, keys).tolist(), strict=True):
            drawn = np.random.default_rng([6, key & (2**63 - 1)]).standard_normal(self._rows.shape[1], np.float32)
            self._rows[row] = drawn / np.linalg.norm(drawn)


def lend_features(workspace: Workspace, looked_at: list[int]) -> None:
    """Write features for the first set's RoIs of some queries and of their neighbours."""
    mined = find_set(workspace.store, SETS[0])
    assert mined is not None, "the store was built without sets"
    encoder = encoder_by_id(workspace.store, mined.encoder_id)
    folder, sha = workspace.embeddings / encoder.name, encoder.weights_sha256
    whole = set_rois(workspace.store, mined.id)
    digests = np.repeat(digests_of(workspace.store, whole.images), np.diff(whole.start))
    rois = Features("rois", roi_keys(digests, whole.boxes), encoder.roi_features, sha, folder)
    photos = set(looked_at)
    for query in looked_at:
        photos |= {n.image.id for n in neighbors_of(workspace.store, mined.id, query)}
    for some in np.array_split(np.array(sorted(photos)), 1 + len(photos) // 200):
        found = [whole.of(i) for i in some.tolist()]
        for own in found:
            rois.fill(roi_keys(digests[own], whole.boxes[own]))


def lend_map(workspace: Workspace) -> None:
    """Write a map of all photos with synthetic places in groups. ``maps.py`` measures the cost of a real map."""
    mined = find_set(workspace.store, SETS[0])
    assert mined is not None
    encoder = encoder_by_id(workspace.store, mined.encoder_id)
    images = np.sort(gallery_ids(workspace.store, GalleryOrder(mined.dataset_id)))
    folder = workspace.embeddings / encoder.name
    keys = digests_of(workspace.store, images)
    Features("images", keys, encoder.image_features, encoder.weights_sha256, folder)
    dataset = dataset_by_id(workspace.store, mined.dataset_id)
    shown = MapOf(dataset, encoder)
    rng = np.random.default_rng(7)
    middles = rng.uniform(-0.9, 0.9, (60, 2))[rng.integers(60, size=len(images))]
    places = np.clip(middles + rng.normal(0, 0.04, middles.shape), -1, 1).astype(np.float32)
    points = points_of(workspace, shown)
    components = rng.standard_normal((len(images), 50)).astype(np.float16)
    keep_map(workspace, shown, Map(points, places, components, map_state(shown, points), True))


@contextmanager
def served(workspace: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """Start ``orl explore``. Yield its address, its process and the seconds until it answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-login", "--workspace", str(workspace), "--port", str(port)]
    command = [sys.executable, "-m", "orl_explorer", "explore", *options]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, "the explorer has ended"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid), time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


class Watched:
    """A page, and the times of actions on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.times: dict[str, list[float]] = {}
        self.requests = 0
        self.memory: list[int] = []  # memory of the server in bytes, before and after stepping through queries
        page.on("request", lambda _: self._count())
        page.on("websocket", lambda opened: opened.on("framesent", lambda _: self._count()))

    def _count(self) -> None:
        self.requests += 1

    def until_changed(self, what: str, selector: str, act: Callable[[], object], skip: int = 0) -> None:
        """Time an action until the text of some elements changes."""
        before = self.page.evaluate(FOUND, [selector, skip])
        began = time.perf_counter()
        act()
        self.page.wait_for_function(CHANGED, arg=[selector, skip, before], timeout=60_000)
        self.times.setdefault(what, []).append(time.perf_counter() - began)

    def until_there(self, what: str, selector: str, act: Callable[[], object]) -> None:
        """Time an action until an element appears."""
        began = time.perf_counter()
        act()
        self.page.locator(selector).first.wait_for(timeout=120_000)
        self.times.setdefault(what, []).append(time.perf_counter() - began)

    def rest(self) -> None:
        """Wait until the page is idle, so that the next time does not include this action."""
        self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        self.page.wait_for_timeout(150)


def look(page: Page, address: str, server: psutil.Process, queries: list[int], repeats: int) -> tuple[Watched, int]:
    """Go through the pages like a user. Return the times, and the number of requests while hovering."""
    seen = Watched(page)
    seen.until_there("explore, opened", ".tile", lambda: page.goto(address))
    for _ in range(min(repeats, 40)):
        seen.rest()
        seen.until_changed("next page of the gallery", ".tile .name", page.get_by_label("Next page").click)

    opened = f"{address}/pair?set={SETS[0]}&q={queries[0]}"
    seen.until_there("pair, opened", ".link", lambda: page.goto(opened))
    seen.memory.append(server.memory_info().rss)
    for _ in range(repeats):
        seen.rest()
        seen.until_changed("next query", ".caption-name", lambda: page.keyboard.press("ArrowRight"))
    seen.memory.append(server.memory_info().rss)
    for _ in range(NEIGHBORS - 1):
        seen.rest()
        seen.until_changed("next neighbour", ".caption-name", lambda: page.keyboard.press("ArrowDown"))
    slider = page.get_by_role("slider", name="N · pairs per neighbour, share of RoIs")
    key = "PageUp"  # raises N by a tenth, which adds four pairs of 40 RoIs
    for _ in range(min(repeats, 60)):
        seen.rest()
        slider.focus()
        value = float(slider.input_value())
        key = "PageDown" if value > 0.5 else "PageUp" if value < 0.15 else key
        seen.until_changed("slider to new pairs", ".count", partial(page.keyboard.press, key))

    seen.rest()
    page.wait_for_timeout(1500)  # pictures that are prefetched
    before = seen.requests
    boxes = page.locator(".stage-svg .link")
    for i in range(min(HOVERS, boxes.count())):
        boxes.nth(i % boxes.count()).dispatch_event("pointerover")
    for key in "brbl":
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    asked = seen.requests - before

    look_at_oddities(seen, address, repeats)
    there = f"{address}/compare?set={SETS[0]}&a={SETS[0]}&b={SETS[1]}&q={queries[0]}"
    seen.until_there("compare, opened", ".link", lambda: page.goto(there))
    for _ in range(min(repeats, 40)):
        seen.rest()
        seen.until_changed("compare, next query", ".caption-name", lambda: page.keyboard.press("ArrowRight"))

    seen.until_there("map, opened", ".map-view canvas", lambda: page.goto(f"{address}/map?set={SETS[0]}"))
    seen.rest()
    page.wait_for_timeout(2000)
    seen.times["map, a frame while it is zoomed"] = zoomed(page)
    return seen, asked


def look_at_oddities(seen: Watched, address: str, repeats: int) -> None:
    """Go through the hubs of a set and the pairs at its threshold, and judge pairs by keys."""
    page, turns = seen.page, min(repeats, 40)
    here = f"set={SETS[0]}"
    seen.until_there("hubs, opened", ".tile", lambda: page.goto(f"{address}/oddities?{here}&part=hubs"))
    for _ in range(turns):
        seen.rest()
        seen.until_changed("hubs, next page", ".tile .name", page.get_by_label("Next page").click)
    seen.until_there("threshold, opened", ".match", lambda: page.goto(f"{address}/oddities?{here}&part=edge"))
    for _ in range(turns):
        seen.rest()
        seen.until_changed("threshold, next page", ".match .names", page.get_by_label("Next page").click)
    seen.until_there("judge, opened", ".judge .frame", lambda: page.goto(f"{address}/judge?{here}"))
    for turn in range(turns):
        seen.rest()
        seen.until_changed("judged, to the next pair", ".judge .here", partial(page.keyboard.press, "gx"[turn % 2]))
    seen.rest()
    results = f"{address}/judge?{here}&show=results&of=set"
    seen.until_there("judged, results opened", "text=Wrong pairs", lambda: page.goto(results))


def crops(width: int, height: int) -> tuple[float, float, float]:
    """Return the seconds of a page's crops for a photo size: photos decoded whole, with a cold and a warm cache."""
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary) / "photos"
        photos.mkdir()
        for number in range(CROPPED):
            coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
            coarse.resize((width, height), Image.Resampling.BICUBIC).save(photos / f"{number}.jpg", quality=90)
        workspace = open_workspace(Path(temporary) / "workspace")
        ingest(workspace, photos, name="cropped")
        os.environ["ORL_WORKSPACE"] = str(workspace.path)
        ids = [image.id for image in usable_images(workspace.store, 1)]
        asked = []
        for i in rng.integers(len(ids), size=CROPS).tolist():
            w, h = (int(side * rng.uniform(0.2, 0.8)) for side in (width, height))
            asked.append((ids[i], (int(rng.integers(width - w)), int(rng.integers(height - h)), w, h)))
        files = {image.id: photos / image.path for image in usable_images(workspace.store, 1)}

        def whole() -> None:
            for image_id, box in asked:
                shown = crop_box(read_image(files[image_id]), np.array(box), pictures.CROP)
                Image.fromarray(shown).save(io.BytesIO(), "JPEG", quality=85)

        def served_from_cache() -> None:
            for image_id, box in asked:
                pictures.cropped(image_id, box)

        took = []
        for crop_all in (whole, served_from_cache, served_from_cache):
            began = time.perf_counter()
            crop_all()
            took.append(time.perf_counter() - began)
        opened.workspace.cache_clear()
        workspace.store.close()
        return took[0], took[1], took[2]


def zoomed(page: Page) -> list[float]:
    """Return the seconds between frames during three seconds of zooming the map with the wheel."""
    place = page.locator(".map-view canvas").first.bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.evaluate(FRAMES)
    for turn in range(60):
        page.mouse.wheel(0, -120 if turn % 20 < 10 else 120)
        page.wait_for_timeout(50)
    return [ms / 1000 for ms in page.evaluate("window.frames_took.slice(1)")]


def main() -> None:
    """Build the store, measure the pages, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--workspace", type=Path, help="workspace to build, or to use if it exists")
    parser.add_argument("--repeats", type=int, default=60, help="queries to step through")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.workspace or Path(temporary) / "workspace"
        new = not (folder / "orl.sqlite").exists()
        workspace = open_workspace(folder)
        if new:
            shown = argparse.Namespace(images=arguments.images, rois=40, pairs=4, sets=2, raw=200, with_photos=True)
            build(workspace, shown)
        queries = gallery_ids(workspace.store, GalleryOrder(1, 1))[: arguments.repeats + 1].tolist()
        lend_features(workspace, queries)
        lend_map(workspace)
        workspace.store.close()
        with served(folder) as (address, server, started), sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            seen, asked = look(page, address, server, queries, arguments.repeats)
            browser.close()
    report(started, seen, asked)
    for width, height in PHOTOS:
        whole, cold, warm = crops(width, height)
        show(
            f"{CROPS} crops, a page of matches, of photos of {width} x {height}: {whole * 1000:.0f} ms decoding each "
            f"whole, {cold * 1000:.0f} ms cold ({whole / cold:.1f} times as fast), {warm * 1000:.0f} ms warm "
            f"({whole / warm:.0f} times)."
        )


def report(started: float, seen: Watched, asked: int) -> None:
    """Print the times."""
    table = Table("from the key or click until it is on screen", "times", "p50, ms", "p95, ms")
    for what, times in seen.times.items():
        p50, p95 = np.percentile(times, [50, 95]) * 1000
        table.add_row(what, str(len(times)), f"{p50:.0f}", f"{p95:.0f}" if len(times) > 1 else "")
    show(table)
    before, after = (size / 1e6 for size in seen.memory)
    steps = len(seen.times["next query"])
    show(f"The server answered after {started:.1f} s; {steps} queries took it from {before:.0f} to {after:.0f} MB.")
    show(f"Hovering over {HOVERS} links and switching layers sent {asked} requests to the server.")


if __name__ == "__main__":
    main()
