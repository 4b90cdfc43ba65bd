"""Values that colour the points of a map, for a whole dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import func, select

from orl_explorer.db.marks import Tag
from orl_explorer.db.models import Annotation, Image, Pair, SetImage
from orl_explorer.db.photos import CHUNK, members_of
from orl_explorer.db.store import Store, fetch, fetch_all, in_byte_order


def largest_objects(store: Store, dataset_id: int) -> dict[int, str]:
    """Return the category of the largest object of each annotated image, by image id; of equals, the first."""
    question = select(Annotation.image_id, Annotation.category, Annotation.w * Annotation.h)
    largest: dict[int, tuple[float, str]] = {}
    with store.session() as session:
        members = members_of(session, dataset_id)
        question = question.join(Image, Image.id == Annotation.image_id).where(Image.dataset_id.in_(members))
        for block in fetch(session, question.order_by(Annotation.id)):
            for image, category, area in block:
                if image not in largest or area > largest[image][0]:
                    largest[image] = area, category
    return {image: category for image, (_, category) in largest.items()}


def first_tags(store: Store, dataset_id: int) -> dict[int, str]:
    """Return the tag of each tagged image, by image id; the first in alphabetical order of several."""
    with store.session() as session:
        members = members_of(session, dataset_id)
        question = select(Tag.image_id, func.min(in_byte_order(Tag.tag))).join(Image, Image.id == Tag.image_id)
        question = question.where(Image.dataset_id.in_(members)).group_by(Tag.image_id)
        return {image: tag for block in fetch(session, question) for image, tag in block}


def pair_numbers(store: Store, set_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of a set by id, int64 [n], and pairs and mean similarity of each, float32 [n, 2]; NaN for none."""
    question = select(SetImage.image_id, SetImage.pair_count, SetImage.mean_similarity)
    with store.session() as session:
        blocks = fetch(session, question.where(SetImage.set_id == set_id).order_by(SetImage.image_id))
        rows = np.concatenate([np.empty((0, 3)), *(np.array(block, np.float64) for block in blocks)])
    return rows[:, 0].astype(np.int64), rows[:, 1:].astype(np.float32)


def roi_pair_numbers(store: Store, set_id: int, image_ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """RoIs of some images that a set pairs as queries, int64 [r], and number and best similarity, float32 [r, 2]."""
    blocks = [np.empty((0, 3))]
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            mine = (Pair.set_id == set_id, Pair.image_id.in_(image_ids[start : start + CHUNK]))
            question = select(Pair.query_roi_id, func.count(), func.max(Pair.similarity)).where(*mine)
            found = fetch_all(session, question.group_by(Pair.query_roi_id))
            blocks.append(np.array(found, np.float64).reshape(-1, 3))
    rows = np.concatenate(blocks)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return rows[:, 0].astype(np.int64), rows[:, 1:].astype(np.float32)
