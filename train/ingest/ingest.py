"""Ingesting photos into the store: sizes, annotations, unreadable files. Photos are never copied or changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import (
    AnnotatedBox,
    FoundPhoto,
    add_photos,
    count_photos,
    ensure_dataset,
    known_files,
    replace_annotations,
)
from orl_explorer.orl.pixels import UnreadableImage, file_digest, probe_image, upright_box
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.layouts import SUFFIXES, Annotated, Layout, detect
from orl_explorer.train.ingest.presence import Presence, refuse_emptied_root, refuse_lost_root
from orl_explorer.train.workspace import Workspace

BATCH = 512  # files read, and rows written, at a time

_Report = Callable[[int], None]  # called with the number of files read so far


@dataclass(frozen=True)
class Ingested:
    """Result of an ingest: the dataset, and the number of files that were new, changed or unchanged."""

    dataset: Dataset
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()  # (path, reason) of the new or changed files that cannot be read
    gone: tuple[str, ...] = ()  # paths of photos whose file was there at the last ingest
    returned: int = 0  # photos that were gone or unreadable and are as before now
    renamed: int = 0  # gone photos whose content has a new name


def ingest(
    workspace: Workspace,
    path: Path,
    *,
    layout: str = "auto",
    annotations: Path | None = None,
    name: str | None = None,
    report: _Report = lambda _: None,
) -> Ingested:
    """Add the photos of a folder and its subfolders to a dataset. Repeat it to add new and changed photos.

    Unreadable files are recorded with the reason, and photos whose file is gone are marked. Raises UserError if there
    are no photos.
    """
    refuse_lost_root(workspace.store, path)
    found = detect(path, layout, annotations)
    if next(iter(found.files()), None) is None:
        refuse_emptied_root(workspace.store, found.root)
        raise UserError(f"There are no photos in {path} or its subfolders. Photos are files that end in {_suffixes()}.")
    dataset = ensure_dataset(workspace.store, name or found.root.name, str(found.root), found.name)
    counts, presence = Ingested(dataset), Presence(workspace.store, dataset.id, found.root)
    seen = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for paths in _batches(found.files()):
            counts = _ingest_batch(workspace, found, paths, counts, pool, presence)
            seen += len(paths)
            report(seen)
    presence.finish()
    dataset = count_photos(workspace.store, dataset.id)
    unreadable = counts.unreadable + tuple(presence.unreachable.items())
    return replace(
        counts,
        dataset=dataset,
        unreadable=unreadable,
        gone=presence.gone,
        returned=presence.returned,
        renamed=presence.renamed,
    )


def _ingest_batch(
    workspace: Workspace,
    layout: Layout,
    paths: list[str],
    counts: Ingested,
    pool: ThreadPoolExecutor,
    presence: Presence,
) -> Ingested:
    known = known_files(workspace.store, counts.dataset.id, paths)
    paths = presence.meet(paths, known)
    known = {path: known[path] for path in paths if path in known}
    same = {path for path, image in known.items() if _stamp(layout.root / path) == (image.size, image.mtime_ns)}
    # Unreadable files are tried again: they may have been readable by now without a change of their content.
    todo = [path for path in paths if path not in same or known[path].status == "unreadable"]
    looked = list(pool.map(lambda path: _look_at(layout, path), todo))
    back = presence.take_back(known, sorted(same), looked)
    unchanged = {path: known[path] for path in (same - set(todo)) | back}
    unchanged |= {p.path: known[p.path] for p in looked if p.path in same and p.error == known[p.path].error}
    photos = [photo for photo in looked if photo.path not in unchanged]
    add_photos(
        workspace.store, counts.dataset.id, photos, {p.path: known[p.path].id for p in photos if p.path in known}
    )
    # Annotations may have been added or corrected since, for unchanged photos.
    annotated = {path: layout.annotated(path) for path, image in unchanged.items() if image.width}
    replace_annotations(
        workspace.store,
        {
            (image := unchanged[path]).id: boxes_as_shown(boxes, image.orientation, image.width, image.height)
            for path, boxes in annotated.items()
            if boxes is not None
        },
    )
    changed = len(known) - len(unchanged)
    return replace(
        counts,
        new=counts.new + len(photos) - changed,
        changed=counts.changed + changed,
        unchanged=counts.unchanged + len(unchanged),
        unreadable=counts.unreadable + tuple((photo.path, photo.error) for photo in photos if photo.error),
    )


def _look_at(layout: Layout, path: str) -> FoundPhoto:
    file = layout.root / path
    size, mtime = _stamp(file)
    try:
        width, height, orientation = probe_image(file)
        digest = file_digest(file)
    except (UnreadableImage, OSError) as error:
        return FoundPhoto(path, size=size, mtime_ns=mtime, error=str(error))
    annotated = layout.annotated(path)
    boxes = boxes_as_shown(annotated, orientation, width, height) if annotated else ()
    return FoundPhoto(path, width, height, orientation, size, mtime, None, boxes, digest)


def boxes_as_shown(annotated: Annotated, orientation: int, width: int, height: int) -> tuple[AnnotatedBox, ...]:
    """Return annotated boxes in the frame as shown, width x height.

    Not all annotation tools apply the EXIF orientation. If it turns the photo by 90 degrees, the declared size tells
    which frame the boxes are in; otherwise they are assumed to be in the stored frame.
    """
    quarter_turn = orientation >= 5
    declared = (annotated.width, annotated.height)
    if orientation == 1 or (quarter_turn and width != height and declared == (width, height)):
        return annotated.boxes
    stored = (height, width) if quarter_turn else (width, height)
    turned = []
    for box in annotated.boxes:
        x, y, w, h = upright_box((box.x, box.y, box.w, box.h), orientation, *stored)
        turned.append(replace(box, x=x, y=y, w=w, h=h))
    return tuple(turned)


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _batches(paths: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(paths, BATCH)):
        yield batch


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
