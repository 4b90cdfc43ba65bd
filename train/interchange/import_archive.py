"""Import of an archive: a set that was mined elsewhere becomes one of the same photos here, whatever their folders."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

import numpy as np

from orl_explorer.db.encoders import VECTORS, add_encoder, encoders
from orl_explorer.db.models import Dataset, Encoder, Image, Run
from orl_explorer.train.encoders.vectors import ABSENT, is_absent
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import said_plainly
from orl_explorer.train.interchange.archive_files import Archive
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.jobs.names import encoder_is_taken, free, refuse_taken_set
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.restore import FILE, Restored
from orl_explorer.train.photos import known_photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.words import plural, visible
from orl_explorer.train.workspace import Workspace, as_file_name

NOTE = "archive.json"  # the manifest, in the folder of the run
NAMED = 5  # photos in a sentence


@dataclass(frozen=True)
class Matched:
    """The photos of an archive here. image_ids: int64 [n], 0 for a photo that is not there.

    missing: those without a file here. changed: those whose name has another content here. by_name: those of the latter
    that were taken nevertheless.
    """

    image_ids: np.ndarray
    missing: list[str]
    changed: list[str]
    by_name: list[str]


@dataclass(frozen=True)
class ImportedArchive:
    """Result of the import of an archive. photos: of the new set. left_out: photos here without a neighbour here.

    neighbors: K of the new set. absent: whether its encoder is not in the workspace.
    """

    run: Run
    encoder: Encoder
    matched: Matched
    photos: int
    left_out: int
    neighbors: int
    absent: bool


def import_archive(
    workspace: Workspace,
    archive: Archive,
    dataset: Dataset,
    name: str = "",
    *,
    leave_out: bool = False,
    by_name: bool = False,
    embed: bool = False,
    placed: Placement | None = None,
    progress: Progress | None = None,
) -> ImportedArchive:
    """Find the photos and the encoder of an archive, and queue the run that stores its set.

    name: of the new set, by default the archive's. leave_out: import the rest if photos are missing or differ.
    by_name: take a photo of the same path or name and size where the content differs. embed: let the run compute the
    features of photos and RoIs. Nothing is written unless all can be. Raises UserError or StoreError.
    """
    workspace.store.refuse_read_only()
    name = " ".join((name or visible(archive.name)).split())
    if not name:
        raise UserError("A correspondence set needs a name.")
    refuse_taken_set(workspace, name)
    matched = find_photos(archive, known_photos(workspace, dataset, progress or Progress()), by_name)
    if not leave_out:
        _refuse_lost(archive, dataset, matched)
    kept, k = _kept(archive, matched.image_ids > 0)
    if not kept.any():
        raise UserError(f"'{dataset.name}' has no photo of {archive.path}, or none with a neighbour of the set.")
    encoder, absent = _encoder(workspace, archive)
    if absent and embed:
        raise UserError(f"The encoder '{encoder.name}' of this set is not in the workspace. Leave --embed out.")
    config = archive.config.model_copy(update={"neighbors": k})
    given = _restored(archive, matched.image_ids, kept, k)
    if encoder.id is None:
        encoder = add_encoder(workspace.store, encoder)
        workspace.log("add", f"encoder {encoder.name}", "without weights, of an archive")
    run = _launch(workspace, archive, (dataset, encoder), name, config, given, embed, placed)
    left_out = int((matched.image_ids > 0).sum() - kept.sum())
    return ImportedArchive(run, encoder, matched, int(kept.sum()), left_out, k, absent)


# Photos ----------------------------------------------------------------------------------------------------


def find_photos(archive: Archive, images: Sequence[Image], by_name: bool = False) -> Matched:
    """Find the photos of an archive among those here, by the digests of their files.

    Of several files with one digest, that with the same path is taken, else one with the same name, else the first.
    """
    rows = archive.tables["photos"]
    by_digest, by_path, by_last = (defaultdict[Any, list[Image]](list) for _ in range(3))
    for image in images:
        by_digest[image.digest or 0].append(image)
        by_path[image.path].append(image)
        by_last[PurePosixPath(image.path).name].append(image)
    ids, used = np.zeros(len(rows["path"]), np.int64), set[int]()

    def take(number: int, found: Image) -> None:
        ids[number] = found.id
        used.add(found.id)

    for same in (_same_path, _same_name, _same_content):  # the best first, so that others do not take them
        for number, (path, digest) in enumerate(zip(rows["path"], rows["digest"].tolist(), strict=True)):
            free_ones = (i for i in by_digest.get(digest, ()) if i.id not in used and same(i.path, path))
            if not ids[number] and (found := next(free_ones, None)) is not None:
                take(number, found)
    missing, changed, named = list[str](), list[str](), list[str]()
    for number in np.flatnonzero(ids == 0).tolist():
        path = rows["path"][number]
        others = [i for i in by_path.get(path) or by_last.get(PurePosixPath(path).name, []) if i.id not in used]
        (changed if others else missing).append(path)
        size = rows["width"][number], rows["height"][number]
        if by_name and len(others) == 1 and (others[0].width, others[0].height) == size:
            take(number, others[0])
            named.append(path)
    return Matched(ids, missing, changed, named)


def _same_path(path: str, other: str) -> bool:
    return path == other


def _same_name(path: str, other: str) -> bool:
    return PurePosixPath(path).name == PurePosixPath(other).name


def _same_content(path: str, other: str) -> bool:
    return True


def lost_in_words(matched: Matched) -> list[str]:
    """Return sentences about photos that are missing, that differ, and that were taken by name."""
    changed = [path for path in matched.changed if path not in set(matched.by_name)]
    lines = (
        ("of the archive not found", matched.missing),
        ("with other content than in the archive", changed),
        ("taken by name, with other content than in the archive", matched.by_name),
    )
    return [f"{plural(len(paths), 'photo')} {what}: {_some(paths)}." for what, paths in lines if paths]


def _some(paths: Sequence[str]) -> str:
    named = ", ".join(visible(path) for path in paths[:NAMED])
    return f"{named}{f' and {len(paths) - NAMED:,} more' if len(paths) > NAMED else ''}"


def _refuse_lost(archive: Archive, dataset: Dataset, matched: Matched) -> None:
    if (matched.image_ids == 0).any():
        said = " ".join(lost_in_words(matched))
        raise UserError(
            f"'{dataset.name}' has not all photos of {archive.path}. {said} Ingest them, or import the rest with "
            "--leave-out. Files that were saved anew are taken with --by-name, if name and size are the same."
        )


# Rows ------------------------------------------------------------------------------------------------------


def _kept(archive: Archive, there: np.ndarray) -> tuple[np.ndarray, int]:
    """Return which photos stay, bool [n], and K: the least number of neighbours that one of them has left.

    The first K neighbours of each photo that stays are those that mining these photos would find.
    """
    neighbor = archive.tables["neighbors"]["neighbor"].reshape(len(there), -1)
    kept = there.copy()
    while kept.any():
        left = kept[neighbor[kept]].sum(axis=1)
        if left.min() > 0:
            return kept, int(left.min())
        kept[np.flatnonzero(kept)[left == 0]] = False
    return kept, 0


def _restored(archive: Archive, image_ids: np.ndarray, kept: np.ndarray, k: int) -> Restored:
    """Return the rows of the photos that stay, numbered anew. k: neighbours that each keeps."""
    photos, rois, near, pairs = (archive.tables[name] for name in ("photos", "rois", "neighbors", "pairs"))
    count = len(kept)
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    own = kept[rois["photo"]]
    neighbor = near["neighbor"].reshape(count, -1)
    rank = np.cumsum(kept[neighbor], axis=1)  # new ranks, from 1
    chosen = kept[neighbor] & (rank <= k) & kept[:, None]
    at = pairs["photo"], pairs["neighbor_rank"] - 1
    some = chosen[at]
    counts = np.bincount((number[at[0]] * k + rank[at] - 1)[some], minlength=int(kept.sum()) * k)
    raw = archive.tables.get("raw_boxes") or {"photo": np.zeros(0, np.int32), "boxes": []}
    boxes = dict(zip(raw["photo"].tolist(), raw["boxes"], strict=True))
    held = [boxes.get(photo, b"") for photo in np.flatnonzero(kept).tolist()]
    return Restored(
        image_ids=image_ids[kept],
        raw_count=photos["raw_count"][kept],
        fallback=photos["fallback"][kept].astype(bool),
        start=np.append(0, np.cumsum(np.bincount(rois["photo"], minlength=count)[kept])),
        boxes=np.stack([rois[side][own] for side in "xywh"], axis=1).astype(np.int16),
        objectness=rois["objectness"][own],
        neighbors=number[neighbor[chosen]].reshape(-1, k).astype(np.int32),
        nearness=near["similarity"].reshape(count, -1)[chosen].reshape(-1, k),
        pair_start=np.append(0, np.cumsum(counts)),
        pairs=np.stack([pairs["query"], pairs["key"]], axis=1)[some],
        similarity=pairs["similarity"][some],
        margin=pairs["margin"][some],
        cycle=pairs["cycle"][some].astype(bool),
        raw_start=np.append(0, np.cumsum([len(content) // 8 for content in held])),
        raw=np.frombuffer(b"".join(held), "<i2").reshape(-1, 4),
    )


# Encoder and run -------------------------------------------------------------------------------------------


def _encoder(workspace: Workspace, archive: Archive) -> tuple[Encoder, bool]:
    """Return the encoder with the archive's weights, and whether it has none here. A new one has no id yet."""
    about = archive.manifest["encoder"]
    same = [row for row in encoders(workspace.store) if row.weights_sha256 == about["weights_sha256"]]
    same.sort(key=lambda row: (row.kind == VECTORS, row.name != about["name"]))
    if same:
        return same[0], is_absent(same[0])
    reading = about.get("reading")
    row = Encoder(
        name=free(workspace, as_file_name(visible(about["name"])), encoder_is_taken),
        architecture=visible(about["architecture"]),
        kind=VECTORS,
        supervised=about["supervised"],
        weights_sha256=visible(about["weights_sha256"])[:64],
        weights_path="",
        image_features=about["image_features"],
        roi_features=about["roi_features"],
        source=ABSENT,
        reading=reading if isinstance(reading, dict) else None,
    )
    return row, True


def _launch(
    workspace: Workspace,
    archive: Archive,
    subject: tuple[Dataset, Encoder],
    name: str,
    config: MineConfig,
    given: Restored,
    embed: bool,
    placed: Placement | None,
) -> Run:
    """Queue the run that stores the rows."""
    dataset, encoder = subject
    job = Mine(
        name=name,
        dataset_id=dataset.id,
        encoder_id=encoder.id,
        config=config,
        imported=str(archive.path),
        archived=archive.manifest["set"]["digest"],
        embed=embed,
    )
    kept, note = (workspace.path / f".{uuid4()}{suffix}" for suffix in (".npz", ".json"))
    try:
        with said_plainly(workspace.path):
            given.save(kept)
            note.write_text(json.dumps(archive.manifest, indent=1))
            return launch(workspace, job, {FILE: kept, NOTE: note}, placed)
    finally:
        for path in (kept, note):
            path.unlink(missing_ok=True)
