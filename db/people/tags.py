"""Tags: short words that people put on photos and on pairs of RoIs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from orl_explorer.db.marks import PairTag, Tag
from orl_explorer.db.models import Dataset, Image, Roi
from orl_explorer.db.photos import CHUNK, marks_of, members_of
from orl_explorer.db.store import Store, StoreError, in_byte_order

LONGEST = 40  # characters of a tag


def clean_tag(text: str) -> str:
    """Strip a tag and reduce its inner spaces to single ones. Raises StoreError if its length is invalid."""
    tag = " ".join(text.split())
    if not tag or len(tag) > LONGEST:
        raise StoreError(f"Invalid tag of {len(tag)} characters. Use 1 to {LONGEST} characters.")
    return tag


def tag_photos(store: Store, image_ids: Sequence[int], tag: str, author: str) -> int:
    """Add an author's tag to photos. Returns how many did not have it yet. Raises StoreError if the tag is invalid."""
    tag, ids = clean_tag(tag), sorted(set(image_ids))
    new = 0
    with store.session() as session:
        for start in range(0, len(ids), CHUNK):
            some = ids[start : start + CHUNK]
            have = set(
                session.scalars(
                    select(Tag.image_id).where(Tag.image_id.in_(some), Tag.tag == tag, Tag.author == author)
                )
            )
            there = session.scalars(select(Image.id).where(Image.id.in_(some))).all()
            rows = [Tag(image_id=i, tag=tag, author=author) for i in there if i not in have]
            session.add_all(rows)
            new += len(rows)
            count_mark(session, some)
    return new


def untag_photos(store: Store, image_ids: Sequence[int], tag: str, author: str) -> None:
    """Remove an author's tag from photos."""
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            some = image_ids[start : start + CHUNK]
            session.execute(delete(Tag).where(Tag.image_id.in_(some), Tag.tag == tag, Tag.author == author))
            count_mark(session, some)


def tags_of(store: Store, image_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return the tags of all authors by image id, in alphabetical order."""
    found: dict[int, tuple[str, ...]] = {}
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            question = select(Tag.image_id, Tag.tag).where(Tag.image_id.in_(image_ids[start : start + CHUNK]))
            for image, tag in sorted((i, word) for i, word in session.execute(question.distinct())):
                found[image] = (*found.get(image, ()), tag)
    return found


def known_tags(store: Store, dataset_id: int) -> dict[str, int]:
    """Return the number of photos of a dataset by tag, in alphabetical order."""
    return _known_tags(store, dataset_id, marks_of(store, dataset_id))


@lru_cache(maxsize=16)
def _known_tags(store: Store, dataset_id: int, marks: int) -> dict[str, int]:
    counted = select(Tag.tag, func.count(Tag.image_id.distinct())).join(Image, Image.id == Tag.image_id)
    with store.session() as session:
        current = Image.dataset_id.in_(members_of(session, dataset_id)), Image.superseded_by.is_(None)
        rows = session.execute(counted.where(*current).group_by(Tag.tag).order_by(in_byte_order(Tag.tag)))
        return {tag: count for tag, count in rows}  # noqa: C416


def tag_pair(store: Store, query_roi_id: int, key_roi_id: int, tag: str, author: str) -> None:
    """Add a tag to a pair of RoIs. Raises StoreError if the tag is invalid."""
    key = (query_roi_id, key_roi_id, clean_tag(tag), author)
    with store.session() as session:
        if session.get(PairTag, key) is None:
            session.add(PairTag(query_roi_id=key[0], key_roi_id=key[1], tag=key[2], author=author))
            count_pair_mark(session, query_roi_id)


def untag_pair(store: Store, query_roi_id: int, key_roi_id: int, tag: str, author: str) -> bool:
    """Remove an author's tag from a pair. Returns whether the pair had it."""
    with store.session() as session:
        found = session.get(PairTag, (query_roi_id, key_roi_id, " ".join(tag.split()), author))
        if found is not None:
            session.delete(found)
            count_pair_mark(session, query_roi_id)
        return found is not None


def tags_of_pairs(store: Store, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], tuple[str, ...]]:
    """Return the tags of all authors by pair (query RoI id, key RoI id), in alphabetical order."""
    asked = set(pairs)
    queries = sorted({query for query, _ in asked})
    found: dict[tuple[int, int], tuple[str, ...]] = {}
    with store.session() as session:
        for start in range(0, len(queries), CHUNK):
            some = PairTag.query_roi_id.in_(queries[start : start + CHUNK])
            question = select(PairTag.query_roi_id, PairTag.key_roi_id, PairTag.tag).where(some)
            for query, key, tag in sorted((q, k, word) for q, k, word in session.execute(question.distinct())):
                if (query, key) in asked:
                    found[query, key] = (*found.get((query, key), ()), tag)
    return found


def count_mark(session: Session, image_ids: Sequence[int]) -> None:
    """Count a change of marks on the datasets of these photos, which invalidates caches."""
    theirs = select(Image.dataset_id).where(Image.id.in_(image_ids))
    session.execute(update(Dataset).where(Dataset.id.in_(theirs)).values(marks=Dataset.marks + 1))


def count_pair_mark(session: Session, query_roi_id: int) -> None:
    """Count a change of marks on a pair, by its query RoI."""
    theirs = select(Image.dataset_id).join(Roi, Roi.image_id == Image.id).where(Roi.id == query_roi_id)
    session.execute(update(Dataset).where(Dataset.id.in_(theirs)).values(marks=Dataset.marks + 1))
