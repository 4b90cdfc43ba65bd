"""Selections: named groups of photos, chosen on a map for example, with an id for links."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import select

from orl_explorer.db.marks import Selection
from orl_explorer.db.store import Store


def keep_selection(
    store: Store, dataset_id: int, ids: Sequence[int] | np.ndarray, name: str = "", author: str = ""
) -> int:
    """Store photos of a dataset, by id, in any order, as a selection. Returns its id."""
    chosen = np.unique(np.asarray(ids, "<i8"))
    row = Selection(name=name or f"{len(chosen):,} photos", dataset_id=dataset_id, author=author)
    row.image_ids = chosen.tobytes()
    with store.session() as session:
        session.add(row)
        session.flush()
        return row.id


def find_selection(store: Store, selection_id: int) -> Selection | None:
    """Return the selection of this id, or None."""
    with store.session() as session:
        return session.get(Selection, selection_id)


def selections(store: Store, dataset_id: int) -> list[tuple[int, str]]:
    """Return the id and name of each selection of a dataset, newest first."""
    with store.session() as session:
        rows = select(Selection.id, Selection.name).where(Selection.dataset_id == dataset_id)
        return [(row.id, row.name) for row in session.execute(rows.order_by(Selection.id.desc()))]


def selected_ids(store: Store, selection_id: int) -> np.ndarray:
    """Return the ids of a selection's photos, int64 [n], ascending; empty if there is no such selection."""
    with store.session() as session:
        kept = session.scalar(select(Selection.image_ids).where(Selection.id == selection_id))
    return np.frombuffer(kept or b"", "<i8").astype(np.int64)
