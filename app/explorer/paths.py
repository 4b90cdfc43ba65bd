"""Paths that people type in the browser, and the folders below which these must be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from orl_explorer.train.errors import UserError

VARIABLE = "ORL_PHOTO_ROOTS"


def readable_roots() -> list[Path]:
    """Return the folders that the environment names, links resolved; [] if any folder may be read.

    Raises UserError if the variable names no folder, or one that is not there.
    """
    named = os.environ.get(VARIABLE)
    return [] if named is None else _resolved(f"${VARIABLE}", [Path(part) for part in named.split(os.pathsep) if part])


def roots_environment(given: Sequence[Path] | None) -> dict[str, str]:
    """Return the environment variable for the server: the given folders, else those of the environment."""
    roots = _resolved("--photos-below", given) if given else readable_roots()
    if any(os.pathsep in str(root) for root in roots):
        raise UserError(f"A folder for --photos-below cannot have '{os.pathsep}' in its path.")
    return {VARIABLE: os.pathsep.join(map(str, roots))} if roots else {}


def allowed_path(text: str) -> Path:
    """Return the path that a person typed. With roots, links are resolved, so that it leads to what was checked.

    Raises UserError, whether it exists or not, if it is outside of the roots, or a folder with links that lead out.
    """
    path, roots = typed_path(text), readable_roots()
    if not roots:
        return path
    try:
        real = path.resolve()
    except (OSError, RuntimeError):  # a circle of links
        real = None
    below = " or ".join(map(str, roots))
    if real is None or not _is_below(real, roots):
        raise UserError(f"{path} is not below {below}. This explorer reads no other folders.")
    if (link := _link_outside(real, roots)) is not None:
        raise UserError(f"{link} is a link out of {below}. Remove it: this explorer reads no other folders.")
    return real


def _is_below(real: Path, roots: Sequence[Path]) -> bool:
    return any(real.is_relative_to(root) for root in roots)


def _link_outside(folder: Path, roots: Sequence[Path]) -> Path | None:
    """Return a link in a folder, or in one that its links lead to, that leads out of the roots; None without one."""
    seen, todo = {folder}, [folder]
    while todo:
        for above, folders, files in os.walk(todo.pop()):
            for link in filter(Path.is_symlink, (Path(above, name) for name in (*folders, *files))):
                target = Path(os.path.realpath(link))
                if not _is_below(target, roots):
                    return link
                if target not in seen:
                    seen.add(target)
                    todo.append(target)  # a file is walked as nothing
    return None


def typed_path(text: str) -> Path:
    """Return the path that a person typed or pasted: quotes around it are removed, ``~`` is the home folder."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # there is no such home folder
        return Path(text).absolute()


def _resolved(source: str, folders: Sequence[Path]) -> list[Path]:
    if not folders:
        raise UserError(f"${VARIABLE} names no folder. Name one, or unset it.")
    found = [folder.expanduser().absolute() for folder in folders]
    for folder in found:
        if not folder.is_dir():
            raise UserError(f"Invalid value for {source}: there is no folder {folder}.")
    return [folder.resolve() for folder in found]
