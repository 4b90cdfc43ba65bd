"""How often each photo of a set is a neighbour of others: hubs are in the lists of many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sqlalchemy import func, select

from orl_explorer.db.models import Neighbor, SetImage
from orl_explorer.db.store import Store, fetch_all


@dataclass(frozen=True)
class NeighborCounts:
    """The photos of a set by how often they are neighbours, most often first, then by id.

    ids: int64 [n]. times: int64 [n], the number of photos whose K neighbours have the photo, its in-degree.
    """

    ids: np.ndarray
    times: np.ndarray


@lru_cache(maxsize=4)
def neighbor_counts(store: Store, set_id: int) -> NeighborCounts:
    """Count how often each photo of a complete set is a neighbour, once: complete sets do not change."""
    counted = select(Neighbor.neighbor_id, func.count()).where(Neighbor.set_id == set_id).group_by(Neighbor.neighbor_id)
    with store.session() as session:
        ids = np.array(session.scalars(select(SetImage.image_id).where(SetImage.set_id == set_id)).all(), np.int64)
        found = np.array(fetch_all(session, counted), np.int64).reshape(-1, 2)
    ids = np.sort(ids)
    times = np.zeros(len(ids), np.int64)
    times[np.searchsorted(ids, found[:, 0])] = found[:, 1]
    order = np.lexsort((ids, -times))
    return NeighborCounts(ids[order], times[order])
