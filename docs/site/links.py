"""Make Markdown written for GitHub work on the site: links to files outside ``docs/``, lists after a paragraph."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
URLS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
SOURCE = URLS["Source"]
# The list of decisions: written by hand where it is there, else by hooks.py.
DECISIONS = f"decisions/{'README' if (ROOT / 'docs/decisions/README.md').is_file() else 'index'}.md"
# Documents at the root of the repository, as pages of the site.
AT_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

_LINK = re.compile(r"(?P<before>\]\(|<[a-z]+ [^>]*?(?:src|href|srcset)=\")(?P<target>[^)\s\"#]+)(?P<after>[#\s)\"])")
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//|/)")
_BEFORE_LIST = re.compile(r"^(?!- )(\S.*)\n(?=- )", re.MULTILINE)
_FENCED = re.compile(r"(^```.*?^```\s*?$)", re.MULTILINE | re.DOTALL)
_CODE = re.compile(_FENCED.pattern[:-1] + r"|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def rewritten(markdown: str, file: str, is_file: Callable[[str], bool]) -> str:
    """The Markdown of a page with each relative link turned into one that the site has, and a blank line before lists.

    file: where the page's source is, from the repository's root. is_file: whether such a path is a file, not a folder.
    """
    page = posixpath.dirname(page_of(file) or "")

    def replace(match: re.Match[str]) -> str:
        target = match["target"]
        if _ELSEWHERE.match(target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        found = page_of(path)
        if found is None:
            there = f"{SOURCE}/{'blob' if is_file(path) else 'tree'}/main/{path}"
        else:
            there = posixpath.relpath(found, page or ".")
        return f"{match['before']}{there}{match['after']}"

    parts = _CODE.split(markdown)  # at odd positions: code
    linked = "".join(part if i % 2 else _LINK.sub(replace, part) for i, part in enumerate(parts))
    parts = _FENCED.split(linked)
    return "".join(part if i % 2 else _BEFORE_LIST.sub(r"\1\n\n", part) for i, part in enumerate(parts))


def page_of(path: str) -> str | None:
    """The source of a page or picture of the site as MkDocs names it; None for a file that the site has not."""
    if path in AT_ROOT:
        return AT_ROOT[path]
    if path == "docs/decisions":
        return DECISIONS
    if path.startswith("docs/") and not path.startswith("docs/site"):
        return path.removeprefix("docs/")
    return None
