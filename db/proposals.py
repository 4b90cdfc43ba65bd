"""The raw boxes of photos before any filter, by the method that proposed them.

Arrays of boxes are int16 [n, 4], x y w h in pixels of the image as shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import delete, insert, select

from orl_explorer.db.models import Proposal
from orl_explorer.db.photos import CHUNK
from orl_explorer.db.store import Store


def missing_proposals(store: Store, image_ids: Sequence[int], method: str) -> list[int]:
    """Return the images without raw boxes by this method, in the given order."""
    have: set[int] = set()
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            ids = image_ids[start : start + CHUNK]
            have.update(
                session.scalars(select(Proposal.image_id).where(Proposal.method == method, Proposal.image_id.in_(ids)))
            )
    return [i for i in image_ids if i not in have]


def add_proposals(store: Store, method: str, boxes_of: Mapping[int, np.ndarray]) -> None:
    """Store the raw boxes of some images, in rank order."""
    if not boxes_of:
        return
    rows = [
        {"image_id": image, "method": method, "boxes": np.asarray(boxes, "<i2").tobytes()}
        for image, boxes in boxes_of.items()
    ]
    with store.session() as session:
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
