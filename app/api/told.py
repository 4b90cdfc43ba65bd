"""Warnings about photos that an ingest could not use."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return "; ".join([*names[:LISTED], *more])
