"""Vectors that the explorer imports: in a thread of the server, so that it continues when a person leaves the page."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orl_explorer.app.explorer.background import BackgroundWork
from orl_explorer.app.explorer.paths import allowed_path
from orl_explorer.db.models import Dataset
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

if TYPE_CHECKING:  # imports pyarrow, as what works with vectors does, which the first page should not wait for
    from orl_explorer.train.interchange.import_vectors import ImportedVectors


@dataclass(frozen=True)
class WantedVectors:
    """What a person typed into the form. files: one on each line."""

    files: str
    name: str
    supervised: bool = False

    def problem(self) -> str | None:
        """Return the sentence for an input that no import can use, or None."""
        if not self.files.strip():
            return "Enter the files that hold the vectors, one on each line."
        if not self.name.strip():
            return "Enter the name of the encoder that the vectors become."
        if "\0" in self.files + self.name:
            return "A path and a name cannot hold a null character. Remove it."
        return None

    def paths(self) -> list[Path]:
        """Return the files. Raises UserError if one is no file of vectors, or lies where nothing may be read."""
        from orl_explorer.train.interchange.vector_files import NPY, beside, is_vector_file

        found = [allowed_path(line) for line in self.files.splitlines() if line.strip()]
        for file in found:
            if not is_vector_file(file):
                raise UserError(f"{file} ends neither in .npy nor in .parquet.")
            if file.suffix == NPY:
                allowed_path(str(beside(file)))
        return found


class Importing(BackgroundWork):
    """An import of vectors, or only its check, and what it found."""

    def __init__(self, workspace: Workspace, dataset: Dataset, wanted: WantedVectors, only_check: bool) -> None:
        self.dataset, self.wanted, self.only_check = dataset, wanted, only_check
        self.found: ImportedVectors | None = None
        acting = workspace.for_a_thread()
        super().__init__(lambda progress: self._import(acting, progress))

    def _import(self, workspace: Workspace, progress: Progress) -> None:
        from orl_explorer.train.interchange.import_vectors import import_vectors

        try:
            self.found = import_vectors(
                workspace,
                self.wanted.paths(),
                self.dataset,
                self.wanted.name.strip(),
                supervised=self.wanted.supervised,
                only_check=self.only_check,
                progress=progress,
            )
        except StoreError as problem:
            raise UserError(str(problem)) from problem


_lock = threading.Lock()
_latest: list[Importing] = []  # at most one


def start_importing(workspace: Workspace, dataset: Dataset, wanted: WantedVectors, *, only_check: bool) -> Importing:
    """Start an import, or its check. Raises UserError if one is running: two of one name would disturb each other."""
    with _lock:
        if _latest and _latest[0].running:
            raise UserError("Vectors are being imported already. Wait until that ends.")
        _latest[:] = [Importing(workspace, dataset, wanted, only_check)]
        return _latest[0]
