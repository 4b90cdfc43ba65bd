"""Warnings about photos that could not be used."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orl_explorer.train.ingest.findings import sentences

if TYPE_CHECKING:
    from orl_explorer.train.ingest.ingest import Ingested

LISTED = 5  # photos that a warning names


def warn_of(found: Ingested) -> None:
    """Warn the caller of a method of photos that cannot be read or are gone, and of what was left out or changed."""
    if found.unreadable:
        named = _some([": ".join(photo) for photo in found.unreadable])
        warnings.warn(f"{len(found.unreadable)} photos cannot be read: {named}.", stacklevel=3)
    if found.gone:
        warnings.warn(f"{len(found.gone)} photos are gone: {_some(found.gone)}.", stacklevel=3)
    for line in sentences(found.findings):
        warnings.warn(line, stacklevel=3)


def warn_of_lost(lost: Mapping[str, str]) -> None:
    """Warn the caller of a method of photos that have no row in a file, since they cannot be read: reasons by path."""
    if lost:
        named = _some([": ".join(photo) for photo in lost.items()])
        warnings.warn(f"{len(lost)} photos cannot be read and have no row: {named}.", stacklevel=3)


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return "; ".join([*names[:LISTED], *more])
