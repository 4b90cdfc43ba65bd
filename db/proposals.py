"""The raw boxes of photos before any filter, by the method that proposed them.

Arrays of boxes are int16 [n, 4], x y w h in pixels of the image as shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from orl_explorer.db.models import Proposal
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.store import Store, lock_writers_out


def missing_proposals(store: Store, image_ids: Sequence[int], method: str) -> list[int]:
    """Return the images without raw boxes by this method, in the given order."""
    with store.session() as session:
        return _missing(session, image_ids, method)


def _missing(session: Session, image_ids: Sequence[int], method: str) -> list[int]:
    have: set[int] = set()
    for start in range(0, len(image_ids), CHUNK):
        some = Proposal.image_id.in_(image_ids[start : start + CHUNK])
        have.update(session.scalars(select(Proposal.image_id).where(Proposal.method == method, some)))
    return [i for i in image_ids if i not in have]


def add_proposals(store: Store, method: str, boxes_of: Mapping[int, np.ndarray]) -> None:
    """Store the raw boxes of some images, in rank order."""
    with store.session() as session:
        _add(session, method, boxes_of)


def keep_proposals(store: Store, method: str, boxes_of: Mapping[int, np.ndarray]) -> list[int]:
    """Store the raw boxes of those images that have none by this method, and return these images.

    Another run, on another machine, may have searched the same images.
    """
    if not boxes_of:
        return []
    with store.session() as session:
        lock_writers_out(session, Proposal)
        missing = _missing(session, list(boxes_of), method)
        _add(session, method, {i: boxes_of[i] for i in missing})
    return missing


def _add(session: Session, method: str, boxes_of: Mapping[int, np.ndarray]) -> None:
    rows = [
        {"image_id": image, "method": method, "boxes": np.asarray(boxes, "<i2").tobytes()}
        for image, boxes in boxes_of.items()
    ]
    if rows:
        session.execute(insert(Proposal), rows)


def proposals_of(store: Store, image_ids: Sequence[int], method: str) -> dict[int, np.ndarray]:
    """Return raw boxes by image id, for the images that have them."""
    found: dict[int, np.ndarray] = {}
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            some = Proposal.image_id.in_(image_ids[start : start + CHUNK])
            rows = session.execute(select(Proposal.image_id, Proposal.boxes).where(Proposal.method == method, some))
            found |= {image: np.frombuffer(blob, "<i2").reshape(-1, 4) for image, blob in rows}
    return found


def proposal_methods(store: Store, image_ids: Sequence[int]) -> list[str]:
    """Return the methods by which any of these images has raw boxes, by name."""
    found: set[str] = set()
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            some = Proposal.image_id.in_(image_ids[start : start + CHUNK])
            found.update(session.scalars(select(Proposal.method).where(some).distinct()))
    return sorted(found)


def drop_proposals(store: Store, image_ids: Sequence[int], method: str) -> None:
    """Delete the raw boxes of some images by a method."""
    for start in range(0, len(image_ids), CHUNK):
        some = Proposal.image_id.in_(image_ids[start : start + CHUNK])
        with store.session() as session:
            session.execute(delete(Proposal).where(Proposal.method == method, some))
