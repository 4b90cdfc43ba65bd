"""Record the README's animated picture: a tour of the explorer in Chromium, on the demo.

python docs/site/tour.py --workspace workspace --out docs/tour.webp

The workspace needs the demo and a training on its set: `orl demo`, then `orl train --correspondence demo-starter
--preset small --set epochs=60`.
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
LONG, SHORT = 2600, 700  # ms a frame is shown
SHARE = "N · pairs per neighbour, share of RoIs"

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
    """Visit the pages, and take a frame after each step."""
    go(page, f"{address}/?set={mined}", ".cell img")
    yield shot(page, "1  Your photos, with the regions and matches that were found in each"), LONG

    go(page, f"{address}/pair?set={mined}&q={query}", ".stage-svg")
    yield shot(page, "2  Every matched pair of regions, in any photo and its neighbours"), LONG
    slider = page.get_by_role("slider", name=SHARE)
    for step in range(3):
        for _ in range(5):
            slider.focus()
            page.keyboard.press("ArrowLeft")
            page.wait_for_timeout(150)
        settle(page)
        yield shot(page, "3  Tune every threshold, and see at once what changes"), LONG if step == 2 else SHORT

    go(page, f"{address}/matches?set={mined}", ".card")
    yield shot(page, "4  All matches of a set: filter, sort, judge, tag"), LONG
    go(page, f"{address}/attention?set={mined}&q={query}", "svg")
    yield shot(page, "5  What encoders attend to"), LONG
    go(page, f"{address}/train?run=2", "canvas, svg")
    yield shot(page, "6  Train on exactly these matches, and watch"), LONG


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
