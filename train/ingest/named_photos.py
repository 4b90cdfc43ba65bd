"""Finding photos by the names in other files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from posixpath import commonpath

from orl_explorer.train.errors import UserError


def shared_folder(paths: Iterable[str]) -> str:
    """Return the deepest folder that holds all paths, with a slash at its end, or ""."""
    folder = commonpath([path[: path.rfind("/") + 1] for path in paths])
    return folder if folder in ("", "/") else f"{folder}/"


def positions(names: Sequence[str], paths: Sequence[str], source: Path, where: str) -> list[int]:
    """Return the index of the path that each file name matches: relative to the deepest shared folder, else the only
    path that ends with the name.

    Raises UserError if a name matches no path or several paths, or occurs twice.
    """
    folder = shared_folder(paths)
    exact = {path.removeprefix(folder): number for number, path in enumerate(paths)}
    by_end: dict[str, list[int]] = {}
    for number, path in enumerate(paths):
        by_end.setdefault(path.rpartition("/")[2], []).append(number)
    found = []
    for name in names:
        end = by_end.get(name.rpartition("/")[2], [])
        fits = [exact[name]] if name in exact else [n for n in end if paths[n].endswith(f"/{name}")]
        if len(fits) != 1:
            problem = "is not in" if not fits else "matches several photos of"
            raise UserError(f"{name}, which {source} lists, {problem} {where}.")
        found += fits
    if len(set(found)) < len(found):
        raise UserError(f"{source} lists {paths[Counter(found).most_common(1)[0][0]]} twice.")
    return found
