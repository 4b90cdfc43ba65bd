"""Files of a cache that belong to a set, made by a thread beside the pages, once for all who wait for them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.photos import dataset_by_id
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

MakingReport = Callable[[int, int], None]  # called with what is done, and its total
F = TypeVar("F")


@dataclass(frozen=True)
class SetFiles:
    """Files of a complete set in the workspace's cache. A header beside them says what they were made of.

    root: folder of such files, by the set's id. header: name of the header. made_of: format of the files, the identity
    of the set, and its number of rows. revision: of the annotations that the categories depend on, -1 without any.
    """

    workspace: Workspace
    mined: CorrespondenceSet
    root: Path
    header: str
    made_of: str
    revision: int

    @classmethod
    def of(cls, workspace: Workspace, mined: CorrespondenceSet, root: Path, header: str, form: int, rows: int) -> Self:
        """Return the files of a set as it is now. form: of the files; others are made anew. rows: their number."""
        dataset = dataset_by_id(workspace.store, mined.dataset_id)
        revision = dataset.revision if dataset.annotation_count else -1
        return cls(workspace, mined, root, header, f"{form} {workspace.store.which(mined)} {rows}", revision)

    @property
    def folder(self) -> Path:
        """Where the files are or will be: a temporary folder if the workspace is read-only and has none."""
        kept = self.root / str(self.mined.id)
        return cache_folder(self.workspace, kept, usable=self.are_in(kept))

    def are_in(self, folder: Path) -> bool:
        """Whether a folder holds these files, made of what there is now."""
        try:
            found = json.loads((folder / self.header).read_text())
            return (found["set"], found["revision"]) == (self.made_of, self.revision)
        except (OSError, ValueError, KeyError):
            return False

    def describe(self, folder: Path, names: Sequence[str]) -> None:
        """Write the header. names: of the categories."""
        header = {"set": self.made_of, "revision": self.revision, "names": names}
        (folder / self.header).write_text(json.dumps(header))


@dataclass
class Making:
    """Files that a thread of this process is making; ``error`` is the message if it fails."""

    done: int = 0
    total: int = 1
    error: str | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)

    def report(self, done: int, total: int) -> None:
        """Note how far the thread is."""
        self.done, self.total = done, max(1, total)


_MAKING: dict[Path, Making] = {}
_LOCK = threading.Lock()
_ELSEWHERE: dict[Path, tempfile.TemporaryDirectory[str]] = {}  # of read-only workspaces, by their folder
_ELSEWHERE_LOCK = threading.Lock()


def making(folder: Path, total: int, make: Callable[[MakingReport], str | None]) -> Making:
    """Return the thread that fills a folder. Start one if there is none, or one has ended without a failure.

    make: fills the folder, and returns the sentence of a failure or None.
    """
    with _LOCK:
        known = _MAKING.get(folder)
        if known is not None and (known.error is not None or known.thread.is_alive()):
            return known
        begun = _MAKING[folder] = Making(total=max(1, total))

        def run() -> None:
            begun.error = make(begun.report)

        begun.thread = threading.Thread(target=run, daemon=True, name=f"making {folder.name}")
        begun.thread.start()
        return begun


def found_or_making(
    find: Callable[[], F | None],
    folder: Path,
    total: int,
    make: Callable[[MakingReport], object],
    what: str,
    patience: float,
) -> F | Making:
    """Return what is found. If there is nothing, start a thread to make it, and wait ``patience`` seconds.

    make: fills the folder. what: it makes, for the sentence of a failure.
    """
    if (found := find()) is not None:
        return found

    def attempt(report: MakingReport) -> str | None:
        try:
            make(report)
        except UserError as problem:
            return str(problem)
        except (StoreError, OSError) as problem:
            return f"Cannot write {what}: {problem}"
        return None

    begun = making(folder, total, attempt)
    begun.thread.join(patience)
    return find() or begun


def forget_failure(folder: Path) -> None:
    """Forget that making a folder has failed, to try again."""
    with _LOCK:
        _MAKING.pop(folder, None)


def cache_folder(workspace: Workspace, kept: Path, *, usable: bool) -> Path:
    """Return a folder of the workspace's cache, or a temporary one if the workspace is read-only and has none.

    usable: whether the folder holds what is needed.
    """
    if usable or (not workspace.store.read_only and os.access(workspace.path, os.W_OK)):
        return kept
    return Path(_elsewhere(workspace.path).name) / kept.relative_to(workspace.path)


def remove_temporary() -> None:
    """Remove the temporary folders, in a process that ends without Python's own clean-up."""
    for folder in list(_ELSEWHERE.values()):
        shutil.rmtree(folder.name, ignore_errors=True)  # another thread may be writing


def _elsewhere(workspace: Path) -> tempfile.TemporaryDirectory[str]:
    with _ELSEWHERE_LOCK:
        if workspace not in _ELSEWHERE:
            _ELSEWHERE[workspace] = tempfile.TemporaryDirectory(prefix="orl-cache-")
        return _ELSEWHERE[workspace]
