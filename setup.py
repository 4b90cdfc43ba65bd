"""The one part of the metadata that pyproject.toml cannot hold: README.md with absolute links, for PyPI."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
LINK = re.compile(r"(\]\(|<[a-z]+ [^>]*?(?:src|href|srcset)=\")(?![a-z][a-z0-9+.-]*:|/)([^)\s\"]+)")
PICTURE = re.compile(r"\.(?:gif|jpe?g|png|svg|webp)$")


def absolute(markdown: str, source: str) -> str:
    """Point each relative link and picture at the repository of this URL."""

    def replace(match: re.Match[str]) -> str:
        before, target = match.groups()
        if target.startswith("#"):
            return f"{before}{source}{target}"
        return f"{before}{source}/{'raw' if PICTURE.search(target) else 'blob'}/main/{target}"

    return LINK.sub(replace, markdown)


def readme() -> str:
    """The description of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return absolute((ROOT / "README.md").read_text(encoding="utf-8"), project["urls"]["Source"])


if __name__ == "__main__":
    setup(long_description=readme(), long_description_content_type="text/markdown")
