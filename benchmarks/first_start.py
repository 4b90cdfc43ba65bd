"""Measure the first start, from a finished install to mined pairs on screen, and the second start.

    python benchmarks/first_start.py

Builds the demo in a temporary workspace, opens it in Chromium and prints the seconds of each part. The goals on two
cores are 180 s to the first pairs and 10 s for the second start.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

PORT = 8765
ADDRESS = f"http://127.0.0.1:{PORT}"


def orl(*words: str) -> list[str]:
    """Return the command line of `orl` as a list."""
    return [sys.executable, "-m", "orl_explorer", *words]


def until_pairs_show(workspace: str) -> float:
    """Return the seconds from starting the server until the pair page shows its photos and its table."""
    began = time.perf_counter()
    command = orl("explore", "--no-login", "--workspace", workspace, "--port", str(PORT))
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with sync_playwright() as playwright:
            found = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            page = browser.new_page()
            while True:
                try:
                    page.goto(f"{ADDRESS}/pair")
                    break
                except Exception as error:  # the server is not ready yet
                    if server.poll() is not None or time.perf_counter() - began > 120:
                        raise RuntimeError("The server did not start.") from error
                    time.sleep(0.1)
            page.locator(".stage-svg").wait_for(timeout=120_000)
            page.locator(".pair-view table tbody tr").first.wait_for(timeout=120_000)
            took = time.perf_counter() - began
            browser.close()
        return took
    finally:
        server.terminate()
        server.wait(15)


def main() -> None:
    """Measure both starts and print the seconds of each part."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = str(Path(folder) / "workspace")
        began = time.perf_counter()
        subprocess.run(orl("demo", "--workspace", workspace), check=True)
        demo = time.perf_counter() - began
        first = until_pairs_show(workspace)
        second = until_pairs_show(workspace)
    print(f"demo composed and mined     {demo:6.1f} s")
    print(f"server started, pairs shown {first:6.1f} s")
    print(f"together                    {demo + first:6.1f} s   goal 180 s")
    print(f"second start, pairs shown   {second:6.1f} s   goal 10 s")


if __name__ == "__main__":
    main()
