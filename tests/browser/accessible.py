"""Checks of pages by axe-core, the development tool of `package.json`, and what it may find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
FAILING = ("serious", "critical")
# Findings in Streamlit's own elements that the project cannot change: rule, a part of the selector, reason.
EXCEPTIONS: tuple[tuple[str, str, str], ...] = ()


def findings(page: Page) -> list[str]:
    """Return the serious and critical findings of axe on a page: rule, selector and what is wrong.

    Streamlit fades what a slow server is about to draw again; axe looks when nothing is faded.
    """
    page.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=stElementContainer]')]"
        ".every((element) => getComputedStyle(element).opacity === '1')"
    )
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'], preload: false })")
    lines = []
    for rule in found["violations"]:
        for node in rule["nodes"] if rule["impact"] in FAILING else ():
            where = " ".join(" ".join(part) if isinstance(part, list) else part for part in node["target"])
            if not any(rule["id"] == name and part in where for name, part, _ in EXCEPTIONS):
                lines.append(f"{rule['id']}: {where}: {node['failureSummary']}")
    return lines


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
