"""Naming the folder that holds the photos of a dataset now. Rows, features, sets, tags and runs stay."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from orl_explorer.db.lost import GONE, Lost, PhotoFile, keep_stamps, mark_lost, photo_files, set_root
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import dataset_by_id, dataset_named, datasets, unions_of
from orl_explorer.db.runs.runs import LIVE, runs
from orl_explorer.orl.opening import NOT_THERE
from orl_explorer.orl.pixels import file_digest
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launcher import reconcile
from orl_explorer.train.lost import file_problem
from orl_explorer.train.training.trained_on import FILE, Correspondences
from orl_explorer.train.words import printable
from orl_explorer.train.workspace import Workspace

Accepted = Literal["missing", "different"]

SAMPLE = 64  # photos whose content is compared
SEED = 0  # of the sample

_Report = Callable[[int, int], None]  # called with the number of photos compared so far, and their total


@dataclass(frozen=True)
class OtherFolder:
    """The photos of a dataset in another folder.

    stamps: size and time of the files that agree, by image id. missing, different: the others. digests: number of
    photos whose content was compared. also: names of the other datasets of that folder.
    """

    dataset: Dataset
    root: Path
    stamps: dict[int, tuple[int, int]]
    missing: tuple[PhotoFile, ...]
    different: tuple[PhotoFile, ...]
    digests: int
    also: tuple[str, ...]


def move_photos(
    workspace: Workspace,
    name: str,
    root: Path,
    *,
    check: bool = False,
    accept: Collection[Accepted] = (),
    report: _Report = lambda done, total: None,
) -> OtherFolder:
    """Make a folder that of a dataset's photos, if it holds them under the same names, with the same sizes and content.

    check: compare the content of all photos, not of a sample. accept: "missing" marks absent photos as gone;
    "different" leaves photos with another content to the next ingest, which replaces them. Raises UserError or
    StoreError, and changes nothing, if the photos differ, or a live run uses them.
    """
    found = compare(workspace, name, root, check=check, report=report)
    _refuse_others(found, accept)
    reconcile(workspace)
    with workspace.store.session() as session:
        users = {found.dataset.id, *unions_of(session, found.dataset.id)}
    live = next((run for run in runs(workspace.store, LIVE) if run.dataset_id in users), None)
    if live is not None:
        raise UserError(f"Run {live.id} uses the photos of '{name}'. Wait until it ends, or stop it.")
    _move_training_data(workspace, users, found.dataset.root, found.root)
    keep_stamps(workspace.store, found.stamps)
    set_root(workspace.store, found.dataset.id, str(found.root))
    mark_lost(workspace.store, {photo.id: Lost(GONE, NOT_THERE) for photo in found.missing})
    workspace.log("move", f"dataset {name}", f"to {printable(str(found.root))}")
    return replace(found, dataset=dataset_by_id(workspace.store, found.dataset.id))


def compare(
    workspace: Workspace,
    name: str,
    root: Path,
    *,
    check: bool = False,
    report: _Report = lambda done, total: None,
) -> OtherFolder:
    """Compare the photos of a dataset with the files of a folder. Photos that are gone already do not count."""
    dataset = dataset_named(workspace.store, name)
    if dataset.layout == "union":
        raise UserError(f"'{name}' unites the datasets {dataset.root}. Move each of them.")
    if not root.is_dir():
        raise UserError(f"{root} is not a folder of photos." if root.exists() else f"There is no folder {root}.")
    root = root.resolve()
    photos = [photo for photo in photo_files(workspace.store, dataset.id) if photo.status != GONE and photo.size]
    read = set(range(len(photos))) if check else _sample(len(photos))
    stamps: dict[int, tuple[int, int]] = {}
    missing, different, digests = [], [], 0
    for number, photo in enumerate(photos):
        file = root / photo.path
        problem = file_problem(file)
        if problem is not None and problem.status != GONE:
            raise UserError(f"Cannot read {file}: {problem.reason}.")
        if problem is not None:
            missing.append(photo)
        elif not _agrees(file, photo, number in read):
            different.append(photo)
        else:
            stamps[photo.id] = file.stat().st_size, file.stat().st_mtime_ns
            digests += number in read and photo.digest is not None
        report(number + 1, len(photos))
    also = [d.name for d in datasets(workspace.store) if d.root == str(root) and d.id != dataset.id]
    return OtherFolder(dataset, root, stamps, tuple(missing), tuple(different), digests, tuple(also))


def _sample(count: int) -> set[int]:
    return set(np.random.default_rng(SEED).permutation(count)[:SAMPLE].tolist())


def _agrees(file: Path, photo: PhotoFile, read: bool) -> bool:
    if file.stat().st_size != photo.size:
        return False
    try:
        return not read or photo.digest is None or file_digest(file) == photo.digest
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from error


def _refuse_others(found: OtherFolder, accept: Collection[Accepted]) -> None:
    name, there = found.dataset.name, len(found.stamps)
    total = there + len(found.missing) + len(found.different)
    others = {"missing": found.missing, "different": found.different}
    problems = [f"{_some(some)} {state}" for state, some in others.items() if some and not (there and state in accept)]
    if not problems:
        return
    said = (
        f"{found.root} does not hold the photos of '{name}': of {total}, {there} are there, {' and '.join(problems)}."
    )
    if not there:
        raise UserError(f"{said} Name the folder that holds {found.missing[0].path if found.missing else 'them'}.")
    states = [state for state, some in others.items() if some]
    options = " ".join(f"--accept-{state}" for state in states)
    raise UserError(f"{said} To move the dataset nevertheless, accept {' and '.join(states)} photos ({options}).")


def _some(photos: Sequence[PhotoFile]) -> str:
    return f"{len(photos)} (such as {photos[0].path}) {'is' if len(photos) == 1 else 'are'}"


def _move_training_data(workspace: Workspace, dataset_ids: set[int], old: str, new: Path) -> None:
    """Name the new folder in the data of runs, so that they resume and are recognised."""
    for run in runs(workspace.store):
        file = workspace.run_folder(run.id) / FILE
        if run.dataset_id in dataset_ids and file.is_file():
            kept = Correspondences.load(file)
            below = f"{old.rstrip('/')}/"
            files = [f"{new}/{path.removeprefix(below)}" if path.startswith(below) else path for path in kept.files]
            if files != kept.files:
                replace(kept, files=files).save(file)
