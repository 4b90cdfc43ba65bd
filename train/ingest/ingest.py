"""Ingesting photos into the store: sizes, annotations, unreadable files. Photos are never copied or changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from orl_explorer.db.findings import Finding, findings_of, replace_findings
from orl_explorer.db.models import Dataset, now
from orl_explorer.db.photos import (
    AnnotatedBox,
    FoundPhoto,
    add_photos,
    annotated_paths,
    count_photos,
    ensure_dataset,
    keep_last_ingest,
    known_files,
    replace_annotations,
)
from orl_explorer.orl.pixels import UnreadableImage, file_digest, probe_image
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import boxes_as_shown
from orl_explorer.train.ingest.findings import (
    KEPT_BOXES,
    KINDS,
    OTHER_FORMAT,
    PACKED,
    SEVERAL_PICTURES,
    TRANSPARENT,
    Kind,
)
from orl_explorer.train.ingest.layouts import Layout, detect
from orl_explorer.train.ingest.presence import Presence, refuse_emptied_root, refuse_lost_root
from orl_explorer.train.words import printable
from orl_explorer.train.workspace import Workspace

BATCH = 512  # files read, and rows written, at a time
NOT_SHOWN = (SEVERAL_PICTURES, TRANSPARENT)  # kinds that are known only once a file is decoded

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
    findings: tuple[Finding, ...] = ()  # what was left out, changed or guessed; stored with the dataset


def photos_in(workspace: Workspace, path: Path, annotations: Path | None = None, *, layout: str = "auto") -> Layout:
    """Return the photos of a folder, without opening them. Raises UserError if there are none."""
    refuse_lost_root(workspace.store, path)
    found = detect(path, layout, annotations)
    if not found.paths:
        refuse_emptied_root(workspace.store, found.root)
        held = [one.name for one in found.findings.all() if one.kind in (OTHER_FORMAT.name, PACKED.name)]
        raise UserError(
            f"There are no photos in {path} or its subfolders. Photos are files such as .jpg, .png, .webp, .tif and "
            "others that `orl ingest --help` names."
            + (f" Files that end in {', '.join(held)} are not read." if held else "")
        )
    return found


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

    Unreadable files are recorded with the reason, photos whose file is gone are marked, and whatever is left out,
    changed or guessed is recorded as a finding. Raises UserError, and stores nothing, if there are no photos.
    """
    found = photos_in(workspace, path, annotations, layout=layout)
    dataset = ensure_dataset(workspace.store, name or found.root.name, str(found.root), found.name)
    workspace.log("add", f"dataset {dataset.name}", printable(str(found.root)))
    counts, presence = Ingested(dataset), Presence(workspace.store, dataset.id, found.root)
    seen = 0
    # Files that have not changed are not opened again.
    noted = {(kind, one.name) for kind in NOT_SHOWN for one in findings_of(workspace.store, dataset.id, kind.name)}
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for paths in _batches(found.paths):
                counts = _ingest_batch(workspace, found, paths, counts, pool, presence, noted)
                seen += len(paths)
                report(seen)
        presence.finish()
        annotated = annotated_paths(workspace.store, dataset.id)
        found.findings.add(KEPT_BOXES.of(path) for path in annotated if not found.lists(path))
        findings = _keep_findings(workspace, dataset.id, found.findings.all())
        keep_last_ingest(workspace.store, dataset.id, now(), counts.new, counts.changed, counts.unchanged)
    finally:  # what an interrupted ingest has taken in is counted
        dataset = count_photos(workspace.store, dataset.id)
    unreadable = counts.unreadable + tuple(presence.unreachable.items())
    return replace(
        counts,
        dataset=dataset,
        unreadable=unreadable,
        gone=presence.gone,
        returned=presence.returned,
        renamed=presence.renamed,
        findings=findings,
    )


def _keep_findings(workspace: Workspace, dataset_id: int, found: list[Finding]) -> tuple[Finding, ...]:
    """Store findings with the photos that they are about. Writes nothing if they are those of the last ingest."""
    names = [one.name for one in found if KINDS[one.kind].about in ("photos", "annotations", "boxes")]
    photos = known_files(workspace.store, dataset_id, list(dict.fromkeys(names)))
    kept = [replace(one, image_id=photos[one.name].id) if one.name in photos else one for one in found]
    if kept != findings_of(workspace.store, dataset_id):
        replace_findings(workspace.store, dataset_id, kept)
    return tuple(kept)


def _ingest_batch(
    workspace: Workspace,
    layout: Layout,
    paths: list[str],
    counts: Ingested,
    pool: ThreadPoolExecutor,
    presence: Presence,
    noted_before: Collection[tuple[Kind, str]],
) -> Ingested:
    known = known_files(workspace.store, counts.dataset.id, paths)
    paths = presence.meet(paths, known)
    known = {path: known[path] for path in paths if path in known}
    same = {path for path, image in known.items() if _stamp(layout.root / path) == (image.size, image.mtime_ns)}
    # Unreadable files are tried again: they may have been readable by now without a change of their content.
    todo = [path for path in paths if path not in same or known[path].status == "unreadable"]
    looked = []
    for photo, noted in pool.map(lambda path: _look_at(layout, path), todo):
        looked.append(photo)
        layout.findings.add(noted)
    back = presence.take_back(known, sorted(same), looked)
    unchanged = {path: known[path] for path in (same - set(todo)) | back}
    unchanged |= {p.path: known[p.path] for p in looked if p.path in same and p.error == known[p.path].error}
    photos = [photo for photo in looked if photo.path not in unchanged]
    add_photos(
        workspace.store, counts.dataset.id, photos, {p.path: known[p.path].id for p in photos if p.path in known}
    )
    # Annotations may have been added or corrected since, for unchanged photos.
    annotations = {}
    for path, image in sorted(unchanged.items()):
        boxes, noted = _boxes(layout, path, image.orientation, image.width, image.height) if image.width else (None, [])
        layout.findings.add(noted)
        layout.findings.add(kind.of(path) for kind in NOT_SHOWN if (kind, path) in noted_before and path not in todo)
        if boxes is not None:
            annotations[image.id] = boxes
    replace_annotations(workspace.store, annotations)
    changed = len(known) - len(unchanged)
    return replace(
        counts,
        new=counts.new + len(photos) - changed,
        changed=counts.changed + changed,
        unchanged=counts.unchanged + len(unchanged),
        unreadable=counts.unreadable + tuple((photo.path, photo.error) for photo in photos if photo.error),
    )


def _look_at(layout: Layout, path: str) -> tuple[FoundPhoto, list[Finding]]:
    file = layout.root / path
    size, mtime = _stamp(file)
    if not os.path.lexists(file):
        return FoundPhoto(path, error=f"not found in {file.parent}"), []
    try:
        found = probe_image(file)
        digest = file_digest(file)
    except (UnreadableImage, OSError) as error:
        return FoundPhoto(path, size=size, mtime_ns=mtime, error=str(error)), []
    width, height, orientation = found.width, found.height, found.orientation
    boxes, noted = _boxes(layout, path, orientation, width, height)
    noted += [kind.of(path) for kind, holds in zip(NOT_SHOWN, (found.several, found.transparent), strict=True) if holds]
    return FoundPhoto(path, width, height, orientation, size, mtime, None, boxes or (), digest), noted


def _boxes(
    layout: Layout, path: str, orientation: int, width: int, height: int
) -> tuple[tuple[AnnotatedBox, ...] | None, list[Finding]]:
    """Return the annotated boxes of a photo as shown, None if it is not annotated, and what was left out."""
    annotated = layout.annotated(path)
    if annotated is None:
        return None, []
    boxes, noted = boxes_as_shown(annotated, orientation, width, height)
    return boxes, annotated.findings(path, noted)


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _batches(paths: list[str]) -> Iterator[list[str]]:
    return (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))
