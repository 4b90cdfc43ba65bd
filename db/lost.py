"""Photos that cannot be used, because their file is gone or cannot be read: marking, restoring and finding them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session, aliased

from orl_explorer.db.models import CorrespondenceSet, Dataset, Image, SetImage, now
from orl_explorer.db.photos import CHUNK, count_change, count_photos, members_of
from orl_explorer.db.store import Store, fetch, in_byte_order

GONE: Literal["gone"] = "gone"


@dataclass(frozen=True)
class Lost:
    """Why a photo cannot be used. reason: one clause."""

    status: Literal["gone", "unreadable"]
    reason: str


def mark_lost(store: Store, lost: Mapping[int, Lost]) -> None:
    """Mark photos, by image id, and count the photos of their datasets again. The next ingest looks at them again."""
    if not lost:
        return
    noticed = f"{now():%Y-%m-%d %H:%M} UTC"
    with store.session() as session:
        for image_id, found in lost.items():
            values: dict[str, Any] = {"status": found.status, "error": f"{found.reason}; noticed {noticed}"}
            # Without its time, an unreadable file counts as changed. A gone file is recognised by its size and time.
            values |= {} if found.status == GONE else {"mtime_ns": 0}
            session.execute(update(Image).where(Image.id == _current(session, image_id)).values(**values))
    _count_again(store, lost)


def _current(session: Session, image_id: int) -> int:
    """Return the id of the row that a photo's file has now."""
    while (following := session.scalar(select(Image.superseded_by).where(Image.id == image_id))) is not None:
        image_id = following
    return image_id


def restore(store: Store, stamps: Mapping[int, tuple[int, int]]) -> None:
    """Mark photos as readable again whose file has the content that it had. stamps: size and time by image id."""
    if not stamps:
        return
    with store.session() as session:
        for image_id, (size, mtime_ns) in stamps.items():
            values: dict[str, Any] = {"status": "ok", "error": None, "size": size, "mtime_ns": mtime_ns}
            session.execute(update(Image).where(Image.id == image_id).values(**values))
    _count_again(store, stamps)


def _count_again(store: Store, image_ids: Collection[int]) -> None:
    ids, changed = list(image_ids), set[int]()
    with store.session() as session:
        for start in range(0, len(ids), CHUNK):
            some = Image.id.in_(ids[start : start + CHUNK])
            changed.update(session.scalars(select(Image.dataset_id).where(some).distinct()))
        count_change(session, changed)
    for dataset_id in sorted(changed):
        count_photos(store, dataset_id)


def keep_stamps(store: Store, stamps: Mapping[int, tuple[int, int]]) -> None:
    """Store size and time of photos' files, by image id, for files whose content is as it was."""
    with store.session() as session:
        for image_id, (size, mtime_ns) in stamps.items():
            session.execute(update(Image).where(Image.id == image_id).values(size=size, mtime_ns=mtime_ns))


def set_root(store: Store, dataset_id: int, root: str) -> None:
    """Name the folder that holds a dataset's photos."""
    with store.session() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(root=root))


class PhotoFile(NamedTuple):
    """A photo's row as a file: path relative to the dataset's root, state, and digest of the content."""

    id: int
    path: str
    status: str
    size: int
    mtime_ns: int
    digest: int | None


def photo_files(store: Store, dataset_id: int) -> list[PhotoFile]:
    """Return the photos of a dataset that is not a union, by path."""
    question = select(Image.id, Image.path, Image.status, Image.size, Image.mtime_ns, Image.digest)
    question = question.where(Image.dataset_id == dataset_id, Image.superseded_by.is_(None)).order_by(
        in_byte_order(Image.path)
    )
    with store.session() as session:
        return [PhotoFile(*row) for block in fetch(session, question) for row in block]


def lost_of_set(store: Store, set_id: int) -> dict[str, int]:
    """Count the photos of a set that cannot be used any more, by state."""
    with store.session() as session:
        dataset_id = session.scalar(select(CorrespondenceSet.dataset_id).where(CorrespondenceSet.id == set_id))
        ours = set(session.scalars(select(SetImage.image_id).where(SetImage.set_id == set_id)))
    lost = lost_images(store, dataset_id or 0) if dataset_id else {}
    return dict(sorted(Counter(status for image_id, status in lost.items() if image_id in ours).items()))


class StateNow(NamedTuple):
    """What became of a photo's file. state: gone, unreadable, or changed, which is readable but another photo."""

    state: Literal["gone", "unreadable", "changed"]
    reason: str


def states_now(store: Store, image_ids: Collection[int]) -> dict[int, StateNow]:
    """Return what became of the files of photos, by image id. Photos that are as their rows say are left out."""
    current, found = aliased(Image), dict[int, StateNow]()
    same_file = (current.dataset_id == Image.dataset_id) & (current.path == Image.path)
    question = select(Image.id, current.status, current.error).join(current, same_file)
    question = question.where(current.superseded_by.is_(None), (current.status != "ok") | (current.id != Image.id))
    ids = sorted(image_ids)
    with store.session() as session:
        for start in range(0, len(ids), CHUNK):
            some = question.where(Image.id.in_(ids[start : start + CHUNK]))
            for image_id, status, error in session.execute(some):
                state: Literal["gone", "unreadable", "changed"]
                state = "changed" if status == "ok" else "gone" if status == GONE else "unreadable"
                found[image_id] = StateNow(state, error or "")
    return found


def lost_images(store: Store, dataset_id: int) -> dict[int, str]:
    """Return the state, gone or unreadable, of photos that cannot be used, by image id.

    Earlier rows of a changed photo, which older sets use, are in the state of its present file.
    """
    current = aliased(Image)
    same_file = (current.dataset_id == Image.dataset_id) & (current.path == Image.path)
    question = select(Image.id, current.status).join(current, same_file)
    counted = select(Dataset.gone_count + Dataset.unreadable_count).where(Dataset.id == dataset_id)
    with store.session() as session:
        if not session.scalar(counted):
            return {}
        ours = Image.dataset_id.in_(members_of(session, dataset_id))
        lost = (current.superseded_by.is_(None), current.status != "ok")
        return {row.id: row.status for row in session.execute(question.where(ours, *lost))}
