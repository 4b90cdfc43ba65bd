"""How long the pair page takes from a key press to new pixels: next query, next neighbour, a slider.

    python benchmarks/pair_latency.py --workspace DIR

Starts ``orl explore`` on a workspace that has a set, drives it in Chromium, and prints quantiles in milliseconds. What
is waited for is the new data on the stage, not the photo. With ``--features``, a workspace of ``store_scale.py
--with-photos`` first gets features for all its RoIs: sparse files of zeros, which nobody should mine with.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright
from rich import print as show
from rich.table import Table
from sqlalchemy import select

from db.encoders import encoders
from db.models import Image, Roi
from train.embeddings import Embeddings
from train.workspace import Workspace, open_workspace

IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
STAGE = ".stage-svg"
# The stage's data as text: which photos, how many pairs. It changes when new data is drawn.
DRAWN = """() => {
  const host = [...document.querySelectorAll("*")].find((node) => node.shadowRoot?.querySelector(".stage-svg"));
  const view = (host?.shadowRoot ?? document).querySelector(".pair-view");
  return [...view.querySelectorAll(".caption-name, .caption-title, .count")].map((node) => node.textContent).join("|");
}"""


def add_features(workspace: Workspace) -> None:
    """Features of zeros for every photo and RoI: they cost no disk, and reading them costs what reading costs."""
    encoder = encoders(workspace.store)[0]
    for kind, width, column in (
        ("images", encoder.image_features, Image.id),
        ("rois", encoder.roi_features, Roi.id),
    ):
        Embeddings(workspace.embeddings / encoder.name, kind, width, encoder.weights_sha256)  # type: ignore[arg-type]
        with workspace.store.session() as session:
            ids = np.array(session.scalars(select(column).order_by(column)).all(), "<i8")
        stem = workspace.embeddings / encoder.name / kind
        with stem.with_suffix(".vectors").open("wb") as vectors:
            vectors.truncate(len(ids) * width * 4)
        ids.tofile(stem.with_suffix(".ids"))


def timed(page: Page, act: Callable[[], None]) -> float:
    """Milliseconds until the stage shows something else."""
    before = page.evaluate(DRAWN)
    began = time.perf_counter()
    act()
    page.wait_for_function(f"(before) => ({DRAWN})() !== before", arg=before, polling="raf", timeout=30_000)
    took = 1000 * (time.perf_counter() - began)
    page.locator(IDLE).wait_for(timeout=30_000)
    return took


def measure(address: str, repeats: int) -> dict[str, list[float]]:
    """Drive the page; by what was done, milliseconds of each time."""
    path = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000}, reduced_motion="reduce")
        page.goto(f"{address}/pair?n=0.3", timeout=30_000)
        page.locator(STAGE).wait_for(timeout=30_000)
        page.locator(IDLE).wait_for(timeout=30_000)
        slider = page.get_by_role("slider", name="N · pairs per neighbour, share of RoIs")

        def slide() -> None:
            slider.focus()
            page.keyboard.press("End" if float(slider.input_value()) < 0.5 else "Home")  # one pair, or one for each RoI

        def press(key: str) -> Callable[[], None]:
            page.mouse.move(2, 2)
            return lambda: page.keyboard.press(key)

        found: dict[str, list[float]] = {}
        for what, act in (("next query", press("ArrowRight")), ("next neighbour", press("ArrowDown"))):
            times = min(repeats, 8) if what == "next neighbour" else repeats
            found[what] = [timed(page, act) for _ in range(times)]
        while page.locator(".cells").evaluate("node => node.height") < 10:  # with one RoI a slider changes nothing
            timed(page, press("ArrowRight"))
        found["slider"] = [timed(page, slide) for _ in range(repeats)]
        browser.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--features", action="store_true", help="write features of zeros for a synthetic store first")
    given = parser.parse_args()
    if given.features:
        add_features(open_workspace(given.workspace))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", "explore", "--workspace", str(given.workspace), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        found = measure(address, given.repeats)
    finally:
        server.terminate()
        server.wait(15)
    table = Table("", "times", "median, ms", "p95, ms")
    for what, times in found.items():
        table.add_row(what, str(len(times)), f"{np.median(times):.0f}", f"{np.quantile(times, 0.95):.0f}")
    show(table)


if __name__ == "__main__":
    main()
