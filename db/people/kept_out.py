"""Photos that people keep out of mining: a mark that lasts until anybody lets the photos in again.

The mark is a tag, so that it is shown, searched, exported and removed as any other. It counts whoever set it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import delete, select

from orl_explorer.db.marks import Tag
from orl_explorer.db.models import Image
from orl_explorer.db.people.tags import count_mark, tag_photos
from orl_explorer.db.photos import CHUNK, members_of
from orl_explorer.db.store import Store

KEPT_OUT = "keep out of mining"


def keep_out(store: Store, image_ids: Sequence[int], author: str) -> int:
    """Keep photos out of mining. Returns how many the author had not kept out before."""
    return tag_photos(store, image_ids, KEPT_OUT, author)


def let_in(store: Store, image_ids: Sequence[int]) -> None:
    """Let photos into mining again, whoever kept them out."""
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            some = image_ids[start : start + CHUNK]
            session.execute(delete(Tag).where(Tag.image_id.in_(some), Tag.tag == KEPT_OUT))
            count_mark(session, some)


def kept_out(store: Store, dataset_id: int) -> np.ndarray:
    """Return the ids of a dataset's photos that are kept out of mining, int64 [n], ascending."""
    question = select(Tag.image_id).join(Image, Image.id == Tag.image_id).where(Tag.tag == KEPT_OUT).distinct()
    with store.session() as session:
        ours = question.where(Image.dataset_id.in_(members_of(session, dataset_id)), Image.superseded_by.is_(None))
        return np.sort(np.array(session.scalars(ours).all(), np.int64))
