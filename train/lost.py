"""Photos whose file is gone, changed or unreadable: they are marked in the store, logged and left out."""

from __future__ import annotations

import os
import shlex
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from orl_explorer.db.lost import GONE, Lost, mark_lost
from orl_explorer.db.models import Dataset, Image
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.orl.opening import NOT_THERE
from orl_explorer.orl.pixels import CHANGED, Stamp, is_same_file
from orl_explorer.train.errors import UserError
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

AT_ONCE = 512  # photos checked between two looks for a request to stop
PROBED = 16  # other photos that show whether a folder is still there


class LostFolder(UserError):
    """The folder of a dataset is not there."""


def file_problem(path: Path, stamp: Stamp | None = None) -> Lost | None:
    """Return why a photo's file cannot be used, or None. Reads it only if its size or time differs from the stamp."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return Lost(GONE, "its name belongs to a folder now" if path.is_dir() else "it is not a file any more")
        if stamp is not None and not is_same_file(path, stamp):
            return Lost("unreadable", CHANGED)
    except (FileNotFoundError, NotADirectoryError):
        return Lost(GONE, NOT_THERE)
    except OSError as error:  # of a disk or network, or a permission: the file may well be there
        return Lost("unreadable", (error.strerror or type(error).__name__).lower())
    return None


def cannot_read(path: Path | str, reason: str) -> UserError:
    """Return the error of a photo that has to be read and cannot. reason: one clause."""
    return UserError(f"Cannot read {path}: {reason}. Run `orl ingest` on its folder again, which leaves it out.")


def lost_as(photos: Photos, image: Image, said: str) -> Lost:
    """Return why a photo cannot be used that could not be read. said: the reason of the attempt, one clause."""
    return file_problem(photos.path(image), photos.stamp(image)) or Lost("unreadable", said)


def present_photos(workspace: Workspace, images: Sequence[Image], photos: Photos, progress: Progress) -> list[Image]:
    """Return the photos whose files are as ingest found them. The others are left out, as by ``leave_out``."""
    progress.phase("Checking photos", len(images))
    lost: dict[int, Lost] = {}
    for start in range(0, len(images), AT_ONCE):
        some = images[start : start + AT_ONCE]
        found = ((image.id, file_problem(photos.path(image), photos.stamp(image))) for image in some)
        lost |= {image_id: problem for image_id, problem in found if problem}
        progress.check()
    return leave_out(workspace, images, photos, lost, progress)


def present_or_stored(workspace: Workspace, images: Sequence[Image], photos: Photos, progress: Progress) -> list[Image]:
    """Return what ``present_photos`` does, or all photos if their folder is not there: stored features may suffice."""
    try:
        return present_photos(workspace, images, photos, progress)
    except LostFolder as problem:
        progress.log(f"{problem} Mining uses stored features.")
        return list(images)


def leave_out(
    workspace: Workspace, images: Sequence[Image], photos: Photos, lost: Mapping[int, Lost], progress: Progress
) -> list[Image]:
    """Mark and log lost photos, by image id, and return the others.

    Raises UserError, and marks nothing, if a folder is not there or has lost most of its photos.
    """
    if not lost:
        return list(images)
    refuse_lost_folders(workspace, images, photos, lost)
    mark_lost(workspace.store, lost)
    for image in images:
        if image.id in lost:
            progress.log(f"Skipped {image.path}: {lost[image.id].reason}.")
    progress.log(f"Left out {counted(lost)}. If you restore or change photos, run `orl ingest` on their folder again.")
    return [image for image in images if image.id not in lost]


def tell_left_out(dataset: Dataset, progress: Progress) -> None:
    """Log how many photos of a dataset are not used because they are gone or unreadable."""
    if dataset.gone_count or dataset.unreadable_count:
        progress.log(
            f"Not used: {dataset.gone_count} gone and {dataset.unreadable_count} unreadable photos of '{dataset.name}'."
        )


def counted(lost: Mapping[int, Lost]) -> str:
    """Return the number of lost photos by state: *3 photos: 1 gone, 2 unreadable*."""
    each = Counter(problem.status for problem in lost.values())
    total = f"{len(lost)} photo{'s' * (len(lost) > 1)}"
    return f"{total}: {', '.join(f'{count} {status}' for status, count in sorted(each.items()))}"


def refuse_lost_folders(
    workspace: Workspace, images: Sequence[Image], photos: Photos, lost: Mapping[int, Lost]
) -> None:
    """Raise UserError if the folder of lost photos is not there, or most of its photos are not.

    A folder that is not mounted would otherwise lose all its photos.
    """
    for dataset_id in sorted({image.dataset_id for image in images if image.id in lost}):
        theirs = [image for image in images if image.dataset_id == dataset_id]
        gone = [image for image in theirs if image.id in lost]
        name, root = dataset_by_id(workspace.store, dataset_id).name, photos.roots[dataset_id]
        refuse_missing_root(name, root)
        others = [image for image in theirs if image.id not in lost][:PROBED]
        if 2 * len(gone) > len(theirs) or all(file_problem(photos.path(image)) for image in others):
            raise UserError(
                f"{len(gone)} of the {len(theirs)} photos of '{name}' cannot be read in {root}, such as "
                f"{gone[0].path}: {lost[gone[0].id].reason}. If the photos are elsewhere, run `{moving(name)}`. "
                f"If they were deleted, run `orl ingest {shlex.quote(str(root))} --name {shlex.quote(name)}`."
            )


def refuse_missing_root(name: str, root: Path) -> None:
    """Raise LostFolder if the folder of a dataset is not there, and UserError if it cannot be listed."""
    try:
        with os.scandir(root):
            return
    except (FileNotFoundError, NotADirectoryError):
        raise LostFolder(
            f"The folder {root} of the dataset '{name}' is not there. Mount it, or, if the photos are elsewhere, run "
            f"`{moving(name)}`."
        ) from None
    except OSError as error:
        raise UserError(f"Cannot read the folder {root} of the dataset '{name}': {error.strerror}.") from error


def none_readable(name: str) -> UserError:
    """Return the error of a dataset without a photo that can be read."""
    return UserError(
        f"None of the photos of '{name}' can be read. Run `orl ingest` on its folder again, or, if the photos are "
        f"elsewhere, `{moving(name)}`."
    )


def moving(name: str) -> str:
    """Return the command that names the new folder of a dataset."""
    return f"orl datasets move {shlex.quote(name)} FOLDER"
