"""Helpers that read the page of ``component_harness.py``."""

from __future__ import annotations

import json
import time
from typing import Any

from playwright.sync_api import Locator, Page

from tests.browser.conftest import IDLE


def show(page: Page, harness: str, scene: str = "pairs") -> Locator:
    page.goto(f"{harness}/?scene={scene}")
    page.locator(".tile" if scene == "gallery" else ".stage-svg").first.wait_for()
    page.locator(IDLE).wait_for()
    return page.locator(".gallery" if scene == "gallery" else ".pair-view")


def log(page: Page) -> list[list[Any]]:
    """The triggers that the server has received so far."""
    page.locator(IDLE).wait_for()
    return json.loads(page.get_by_test_id("stCode").inner_text())


def expect_log(page: Page, *entries: list[Any]) -> None:
    """Wait until the server has received exactly these triggers. Counters are not compared."""

    def plain(value: Any) -> Any:
        return {key: item for key, item in value.items() if key != "n"} if isinstance(value, dict) else value

    deadline = time.monotonic() + 8
    received: list[list[Any]] = []
    while time.monotonic() < deadline:
        received = [[name, plain(value)] for name, value in log(page)]
        if received == list(entries):
            return
        page.wait_for_timeout(60)
    assert received == list(entries)


def numbers(view: Locator, selector: str, attribute: str) -> list[int]:
    """Return a data attribute of all matching elements, in document order."""
    return [int(value) for value in view.locator(selector).evaluate_all(f"all => all.map(e => e.dataset.{attribute})")]


def runs(page: Page) -> str:
    return page.get_by_text("runs ").inner_text()


def centre(view: Locator, side: str, index: int, kind: str = "candidate") -> tuple[float, float]:
    place = view.locator(f".box.{kind}[data-side={side}][data-index='{index}'] .line").bounding_box()
    assert place
    return place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
