"""Notes and tags of runs."""

from __future__ import annotations

from collections.abc import Iterable

from orl_explorer.db.people.tags import clean_tag
from orl_explorer.db.runs.runs import run_by_id, update_run
from orl_explorer.db.store import Store, StoreError

LONGEST_NOTE = 2000  # characters


def note_run(store: Store, run_id: int, note: str) -> None:
    """Replace the note of a run. Raises StoreError if there is no such run, or if the note is too long."""
    note = note.strip()
    if len(note) > LONGEST_NOTE:
        raise StoreError(f"Invalid note of {len(note):,} characters. Use at most {LONGEST_NOTE:,}.")
    run_by_id(store, run_id)
    update_run(store, run_id, note=note)


def tag_run(store: Store, run_id: int, tags: Iterable[str]) -> list[str]:
    """Replace the tags of a run and return them. Raises StoreError if there is no such run, or for an invalid tag."""
    run_by_id(store, run_id)
    kept = sorted({clean_tag(tag) for tag in tags})
    update_run(store, run_id, tags=kept)
    return kept
