"""Datasets, their images and annotations."""

from __future__ import annotations

import heapq
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

import numpy as np
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from orl_explorer.db.marks import Tag
from orl_explorer.db.models import Annotation, Dataset, DatasetMember, Image
from orl_explorer.db.store import Store, StoreError, fetch, in_byte_order, insert_rows

CHUNK = 500  # rows per statement: below SQLite's limit on bound variables


@dataclass(frozen=True)
class AnnotatedBox:
    """An annotated object: category and x, y, w, h in pixels of the image as shown."""

    category: str
    x: float
    y: float
    w: float
    h: float
    difficult: bool = False


@dataclass(frozen=True)
class FoundPhoto:
    """A file that ingest found; ``error`` is the reason if it is unreadable."""

    path: str
    width: int = 0
    height: int = 0
    orientation: int = 1
    size: int = 0
    mtime_ns: int = 0
    error: str | None = None
    boxes: tuple[AnnotatedBox, ...] = ()
    digest: int | None = None


def datasets(store: Store) -> list[Dataset]:
    """Return all datasets, by name."""
    with store.session() as session:
        return list(session.scalars(select(Dataset).order_by(in_byte_order(Dataset.name))))


def find_dataset(store: Store, name: str) -> Dataset | None:
    """Return the dataset of this name, or None."""
    with store.session() as session:
        return session.scalar(select(Dataset).where(Dataset.name == name))


def dataset_named(store: Store, name: str) -> Dataset:
    """Return the dataset of this name. Raises StoreError that lists the known datasets if there is none."""
    found = find_dataset(store, name)
    if found is None:
        known = ", ".join(d.name for d in datasets(store))
        hint = f"Known datasets: {known}." if known else "Make one with `orl ingest PATH`."
        raise StoreError(f"There is no dataset '{name}'. {hint}")
    return found


def dataset_by_id(store: Store, dataset_id: int) -> Dataset:
    """Return the dataset of this id. Raises StoreError if there is none."""
    with store.session() as session:
        found = session.get(Dataset, dataset_id)
        if found is None:
            raise StoreError(f"There is no dataset {dataset_id}.")
        return found


def ensure_dataset(store: Store, name: str, root: str, layout: str) -> Dataset:
    """Return the dataset of this name, created if needed. Raises StoreError if it holds photos of another folder.

    layout: of its annotations, if there are any; that of a folder without says nothing of earlier ones.
    """
    with store.session() as session:
        found = session.scalar(select(Dataset).where(Dataset.name == name))
        if found is None:
            found = Dataset(name=name, root=root, layout=layout)
            session.add(found)
            session.flush()
        elif found.root != root:
            raise StoreError(
                f"The dataset '{name}' holds the photos of {found.root}. Choose another name for those of {root}, "
                f"or, if they are the same photos, run `orl datasets move {shlex.quote(name)} {shlex.quote(root)}`."
            )
        elif layout != "folder" and found.layout != layout:
            found.layout = layout  # what is marked as difficult may be a crowd from now on
            count_change(session, [found.id])
            session.refresh(found)
        return found


def unite(store: Store, names: Sequence[str]) -> Dataset:
    """Return the union of several datasets, created if needed; for a single name, that dataset itself.

    The paper's COCO+ unites train2017 and unlabeled2017. Photos keep their rows, and so their features and annotations.
    Raises StoreError if a name is unknown, or another dataset has the name of the union.
    """
    named = {name: dataset_named(store, name) for name in sorted(set(names))}
    if len(named) == 1:
        return next(iter(named.values()))
    whole = "+".join(named)
    with store.session() as session:
        members = sorted({member for part in named.values() for member in members_of(session, part.id)})
        found = session.scalar(select(Dataset).where(Dataset.name == whole))
        if found is None:
            found = Dataset(name=whole, root=" + ".join(named), layout="union")
            session.add(found)
            session.flush()
            session.add_all(DatasetMember(dataset_id=found.id, member_id=member) for member in members)
        elif members_of(session, found.id) != members:
            raise StoreError(f"The dataset '{whole}' is not the union of {' and '.join(named)}. Rename one of them.")
    return count_photos(store, found.id)


def members_of(session: Session, dataset_id: int) -> list[int]:
    """Return the ids of the datasets that a union contains, ascending, or the id of the dataset itself."""
    united = select(DatasetMember.member_id).where(DatasetMember.dataset_id == dataset_id)
    return list(session.scalars(united.order_by(DatasetMember.member_id))) or [dataset_id]


def unions_of(session: Session, dataset_id: int) -> list[int]:
    """Return the ids of the unions that contain a dataset."""
    return list(session.scalars(select(DatasetMember.dataset_id).where(DatasetMember.member_id == dataset_id)))


def count_change(session: Session, dataset_ids: Iterable[int]) -> None:
    """Count a change of photos or annotations in the revisions of datasets, and of the unions that contain them."""
    ids = list(dataset_ids)
    unions = select(DatasetMember.dataset_id).where(DatasetMember.member_id.in_(ids))
    which = Dataset.id.in_(ids) | Dataset.id.in_(unions)
    session.execute(update(Dataset).where(which).values(revision=Dataset.revision + 1))


def marks_of(store: Store, dataset_id: int) -> int:
    """Count the changes of tags and verdicts on a dataset's photos. Caches are valid for one number."""
    with store.session() as session:
        whole = [dataset_id, *members_of(session, dataset_id)]
        return session.scalar(select(func.sum(Dataset.marks)).where(Dataset.id.in_(whole))) or 0


def photo_roots(store: Store, dataset_id: int) -> dict[int, str]:
    """Return the folder of each dataset whose photos this one holds, by id: several for a union."""
    united = select(DatasetMember.member_id).where(DatasetMember.dataset_id == dataset_id)
    own = Dataset.id.in_(united) | ((Dataset.id == dataset_id) & ~united.exists())
    with store.session() as session:
        return {row.id: row.root for row in session.execute(select(Dataset.id, Dataset.root).where(own))}


def known_files(store: Store, dataset_id: int, paths: Sequence[str]) -> dict[str, Image]:
    """Return the current rows of those paths that the dataset already has."""
    known: dict[str, Image] = {}
    with store.session() as session:
        for start in range(0, len(paths), CHUNK):
            rows = session.scalars(
                select(Image).where(
                    Image.dataset_id == dataset_id,
                    Image.superseded_by.is_(None),
                    Image.path.in_(paths[start : start + CHUNK]),
                )
            )
            known.update((image.path, image) for image in rows)
    return known


def add_photos(store: Store, dataset_id: int, photos: Iterable[FoundPhoto], replaced: dict[str, int]) -> None:
    """Add images with their annotations in one transaction.

    replaced: path -> id of the row that the file had before it changed. Sets mined from the old file keep it;
    new sets use the new row, which has the tags of the old one.
    """
    photos = list(photos)
    with store.session() as session:
        superseded = [replaced[photo.path] for photo in photos if photo.path in replaced]
        for old in superseded:  # removes it from the unique index before its successor is added
            session.execute(update(Image).where(Image.id == old).values(superseded_by=old))
        rows = [
            {
                "dataset_id": dataset_id,
                "path": photo.path,
                "width": photo.width,
                "height": photo.height,
                "orientation": photo.orientation,
                "status": "ok" if photo.error is None else "unreadable",
                "error": photo.error,
                "size": photo.size,
                "mtime_ns": photo.mtime_ns,
                "digest": photo.digest,
            }
            for photo in photos
        ]
        if not rows:
            return
        count_change(session, [dataset_id])
        ids = session.scalars(insert(Image).returning(Image.id, sort_by_parameter_order=True), rows).all()
        successors = {replaced[p.path]: new for p, new in zip(photos, ids, strict=True) if p.path in replaced}
        for old, new in successors.items():
            session.execute(update(Image).where(Image.id == old).values(superseded_by=new))
        _copy_tags(session, dataset_id, successors)
        _add_boxes(session, {image_id: photo.boxes for photo, image_id in zip(photos, ids, strict=True)})


def _copy_tags(session: Session, dataset_id: int, successors: Mapping[int, int]) -> None:
    """Give photos the tags of the rows that they replace, with author and date. successors: old id -> new id."""
    columns = ("image_id", "tag", "author", "created_at")
    for start in range(0, len(successors), CHUNK):
        some = list(successors)[start : start + CHUNK]
        tags = session.execute(select(Tag.image_id, Tag.tag, Tag.author, Tag.created_at).where(Tag.image_id.in_(some)))
        rows = [dict(zip(columns, (successors[row.image_id], *row[1:]), strict=True)) for row in tags]
        if rows:
            session.execute(insert(Tag), rows)
            session.execute(update(Dataset).where(Dataset.id == dataset_id).values(marks=Dataset.marks + 1))


def digests_of(store: Store, image_ids: np.ndarray) -> np.ndarray:
    """Return the digest of each photo's file, int64 [n] -> int64 [n]; 0 if it has none."""
    if not len(image_ids):
        return np.empty(0, np.int64)
    within = Image.id.between(int(image_ids.min()), int(image_ids.max()))
    question = select(Image.id, func.coalesce(Image.digest, 0)).where(within).order_by(Image.id)
    with store.session() as session:
        rows = np.concatenate([np.array(block, np.int64) for block in fetch(session, question)])
    return rows[np.searchsorted(rows[:, 0], image_ids), 1]


def keep_digests(store: Store, digests: Mapping[int, int]) -> None:
    """Store digests of files, by image id, for photos that were ingested without one."""
    with store.session() as session:
        for image_id, digest in digests.items():
            session.execute(update(Image).where(Image.id == image_id).values(digest=digest))


def replace_annotations(store: Store, boxes_of: Mapping[int, tuple[AnnotatedBox, ...]]) -> None:
    """Replace the annotations of images, by id. Writes nothing where they are unchanged."""
    ids = list(boxes_of)
    with store.session() as session:
        for start in range(0, len(ids), CHUNK):
            some = ids[start : start + CHUNK]
            had = _boxes_of(session, some)
            changed = {i: boxes_of[i] for i in some if had.get(i, ()) != tuple(boxes_of[i])}
            session.execute(delete(Annotation).where(Annotation.image_id.in_(changed)))
            count_change(session, session.scalars(select(Image.dataset_id).where(Image.id.in_(changed)).distinct()))
            _add_boxes(session, changed)


def annotated_paths(store: Store, dataset_id: int) -> list[str]:
    """Return the paths of the photos of a dataset that have boxes and can be used, in byte order."""
    question = select(Image.path).where(
        Image.dataset_id == dataset_id,
        Image.superseded_by.is_(None),
        Image.status == "ok",
        select(Annotation.id).where(Annotation.image_id == Image.id).exists(),
    )
    with store.session() as session:
        return list(session.scalars(question.order_by(in_byte_order(Image.path))))


def _boxes_of(session: Session, image_ids: Sequence[int]) -> dict[int, tuple[AnnotatedBox, ...]]:
    found: dict[int, tuple[AnnotatedBox, ...]] = {}
    query = select(Annotation).where(Annotation.image_id.in_(image_ids)).order_by(Annotation.id)
    for a in session.scalars(query):
        found[a.image_id] = (*found.get(a.image_id, ()), AnnotatedBox(a.category, a.x, a.y, a.w, a.h, a.difficult))
    return found


def _add_boxes(session: Session, boxes_of: Mapping[int, Sequence[AnnotatedBox]]) -> None:
    columns = ("image_id", "category", "x", "y", "w", "h", "difficult")
    rows = [(image, b.category, b.x, b.y, b.w, b.h, b.difficult) for image, boxes in boxes_of.items() for b in boxes]
    insert_rows(session, Annotation, columns, rows)


def keep_last_ingest(store: Store, dataset_id: int, at: datetime, new: int, changed: int, unchanged: int) -> None:
    """Store when a dataset was last ingested (UTC), and how many of its files were new, changed or unchanged."""
    kept = {"at": at.isoformat(timespec="seconds"), "new": new, "changed": changed, "unchanged": unchanged}
    with store.session() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(last_ingest=kept))


def count_photos(store: Store, dataset_id: int) -> Dataset:
    """Count a dataset's images and annotations into its row, so that pages need not count.

    Unions that contain it are counted again too.
    """
    with store.session() as session:
        current = (Image.dataset_id.in_(members_of(session, dataset_id)), Image.superseded_by.is_(None))
        statuses = session.execute(select(Image.status, func.count()).where(*current).group_by(Image.status)).all()
        counted = {row.status: row[1] for row in statuses}
        categories = session.execute(
            select(Annotation.category, func.count(), func.count(Annotation.image_id.distinct()))
            .join(Image, Image.id == Annotation.image_id)
            .where(*current)
            .group_by(Annotation.category)
            .order_by(in_byte_order(Annotation.category))
        ).all()
        dataset = session.scalars(select(Dataset).where(Dataset.id == dataset_id)).one()
        known = dataset.annotation_count, dataset.categories or {}
        dataset.image_count, dataset.unreadable_count = counted.get("ok", 0), counted.get("unreadable", 0)
        dataset.gone_count = counted.get("gone", 0)
        dataset.annotation_count = sum(boxes for _, boxes, _ in categories)
        dataset.categories = {category: images for category, _, images in categories}
        if (dataset.annotation_count, dataset.categories) != known:
            # Whoever read the row since the last batch holds the old names under the revision of that batch.
            session.flush()
            count_change(session, [dataset_id])
            session.refresh(dataset)
        unions = unions_of(session, dataset_id)
    for union in unions:
        count_photos(store, union)
    return dataset


def usable_images(store: Store, dataset_id: int) -> Iterator[Image]:
    """Yield the readable images of a dataset in the order of ids, fetched in blocks."""
    return (image for image in current_images(store, dataset_id) if image.status == "ok")


def current_images(store: Store, dataset_id: int) -> Iterator[Image]:
    """Yield all images of a dataset, including unreadable ones, in the order of ids, fetched in blocks."""
    with store.session() as session:
        members = members_of(session, dataset_id)
    return heapq.merge(*(_current_images(store, member) for member in members), key=attrgetter("id"))


def _current_images(store: Store, dataset_id: int) -> Iterator[Image]:
    after = 0
    while True:
        with store.session() as session:
            block = list(
                session.scalars(
                    select(Image)
                    .where(
                        Image.dataset_id == dataset_id,
                        Image.id > after,
                        Image.superseded_by.is_(None),
                    )
                    .order_by(Image.id)
                    .limit(CHUNK * 4)
                )
            )
        if not block:
            return
        yield from block
        after = block[-1].id


def image_by_id(store: Store, image_id: int) -> tuple[Image, Dataset] | None:
    """Return an image with its dataset, or None."""
    with store.session() as session:
        row = session.execute(
            select(Image, Dataset).join(Dataset, Dataset.id == Image.dataset_id).where(Image.id == image_id)
        ).one_or_none()
        return (row[0], row[1]) if row else None


def annotations_of(store: Store, image_id: int) -> list[AnnotatedBox]:
    """Return the annotated objects of an image."""
    with store.session() as session:
        return list(_boxes_of(session, [image_id]).get(image_id, ()))


def annotation_counts(store: Store, image_ids: Sequence[int]) -> dict[int, int]:
    """Return the number of annotated objects by image id, of those that have any."""
    found: dict[int, int] = {}
    with store.session() as session:
        for start in range(0, len(image_ids), CHUNK):
            some = Annotation.image_id.in_(image_ids[start : start + CHUNK])
            question = select(Annotation.image_id, func.count()).where(some).group_by(Annotation.image_id)
            for image_id, count in session.execute(question):
                found[image_id] = count
    return found
