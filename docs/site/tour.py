"""Record the README's animated picture in Chromium: tune, regenerate, train.

python docs/site/tour.py --workspace workspace --out docs/tour.webp

The workspace needs the demo (`orl demo`). The tour mines a set there, trains on it, and takes some minutes.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1280, 800  # of the browser
SHOWN = 1040, 650  # of the picture, without the caption
BAR = 44
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
LONG, SHORT = 1900, 400  # ms a frame is shown
WATCHED = 8  # frames of the training at most
SHARE = "N · pairs per neighbour, share of RoIs"
MADE = "tuned"  # names of the tour's set and encoder
EPOCHS = 12

Frame = tuple[Image.Image, int]


def main() -> None:
    parser = argparse.ArgumentParser(description="Record the README's animated picture.")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", default="demo-starter")
    parser.add_argument("--query", type=int, default=5, help="id of the query photo")
    arguments = parser.parse_args()
    with served(arguments.workspace) as address, sync_playwright() as playwright:
        found = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        frames = list(tour(page, address, arguments.set, arguments.query))
        browser.close()
    pictures = [picture for picture, _ in frames]
    durations = [duration for _, duration in frames]
    pictures[0].save(
        arguments.out, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=72, method=6
    )
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {len(frames)} frames, {sum(durations) / 1000:.0f} s, {size:,} bytes")


def tour(page: Page, address: str, mined: str, query: int) -> Iterator[Frame]:
    """Go from a set to a training on a better one, and take a frame after each step."""
    go(page, f"{address}/?set={mined}", ".cell img")
    page.get_by_role("button", name="Got it").click()
    settle(page)
    yield shot(page, "Your photos, and the matching regions that were found in each"), LONG
    go(page, f"{address}/pair?set={mined}&q={query}", ".stage-svg")
    yield shot(page, "See every matched pair"), LONG

    go(page, f"{address}/tune?set={mined}", "table")
    slider = page.get_by_role("slider", name=SHARE)
    for step in range(4):
        for _ in range(4):
            slider.focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(100)
        settle(page)
        yield shot(page, "Tune: move a threshold, and see at once what it changes"), LONG if step == 3 else SHORT

    page.get_by_role("button", name="Regenerate").click()
    page.get_by_label("Name of the new set").fill(MADE)
    page.keyboard.press("Tab")
    settle(page)
    yield shot(page, "Regenerate: mine the whole dataset with these settings"), LONG
    page.get_by_role("button", name="Start run").click()
    page.get_by_role("button", name="Show the new set").first.wait_for(timeout=600_000)
    settle(page)
    yield shot(page, "A new set, beside the old one: compare both, or train on it"), LONG

    go(page, f"{address}/train?view=launch&stage=3&set={MADE}", "[data-testid=stNumberInput]")
    page.get_by_role("spinbutton", name="Epochs").fill(str(EPOCHS))
    page.keyboard.press("Tab")
    settle(page)
    yield shot(page, "Train: launch stage 3 on exactly these pairs"), LONG
    page.get_by_role("button", name="Launch run").click()
    page.locator(".curves svg, .curves canvas").first.wait_for(timeout=120_000)
    watched = []
    while not page.get_by_text("done", exact=True).first.is_visible():
        page.wait_for_timeout(3000)
        watched.append(shot(page, "Watch it learn"))
    every = -(-len(watched) // WATCHED)
    yield from ((frame, SHORT) for frame in watched[::every])
    page.reload()  # the sidebar counts the new encoder
    settle(page)
    yield shot(page, "Then measure whether it has helped"), LONG


def go(page: Page, address: str, sign: str) -> None:
    """Open a page, and wait until it is drawn."""
    page.goto(address)
    page.locator(sign).first.wait_for(timeout=60_000)
    settle(page)


def settle(page: Page) -> None:
    """Wait for the script and the pictures."""
    page.locator(IDLE).wait_for(timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(900)


def shot(page: Page, caption: str) -> Image.Image:
    """Take a frame with a caption below it."""
    seen = Image.open(BytesIO(page.screenshot())).convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (SHOWN[0], SHOWN[1] + BAR), "#0f3d36")
    frame.paste(seen, (0, 0))
    ImageDraw.Draw(frame).text(
        (20, SHOWN[1] + BAR / 2), caption, fill="white", anchor="lm", font=ImageFont.load_default(20)
    )
    return frame


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """Start the explorer on a free port, and end it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-login", "--workspace", str(workspace), "--port", str(port)]
    command = [sys.executable, "-m", "orl_explorer", "explore", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health").close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        yield f"http://localhost:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


if __name__ == "__main__":
    main()
