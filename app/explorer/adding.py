"""The ingest that the explorer runs: in a thread of the server, so that it continues when a person leaves the page."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from orl_explorer.app.explorer.background import BackgroundWork
from orl_explorer.app.explorer.paths import allowed_path
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import Ingested, ingest
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace


@dataclass(frozen=True)
class Wanted:
    """What a person typed into the form. An empty text stands for the default."""

    folder: str
    name: str = ""
    layout: str = "auto"
    annotations: str = ""

    def problem(self) -> str | None:
        """Return the sentence for an input that no ingest can use, or None."""
        if not self.folder.strip():
            return "Enter the folder that holds the photos."
        if "\0" in self.folder + self.annotations + self.name:
            return "A path and a name cannot hold a null character. Remove it."
        if self.annotations.strip() and self.layout not in ("auto", "coco"):
            return f"The layout {self.layout} does not read a COCO file. Choose auto or coco, or clear the file."
        return None


class Adding(BackgroundWork):
    """An ingest and its result. ``done``: the number of files read so far."""

    def __init__(self, workspace: Workspace, wanted: Wanted) -> None:
        self.wanted = wanted
        self.found: Ingested | None = None
        acting = workspace.for_a_thread()
        super().__init__(lambda progress: self._ingest(acting, progress))

    def _ingest(self, workspace: Workspace, progress: Progress) -> None:
        progress.phase("Reading photos", 0)
        try:
            self.found = ingest(
                workspace,
                allowed_path(self.wanted.folder),
                layout=self.wanted.layout,
                annotations=allowed_path(self.wanted.annotations) if self.wanted.annotations.strip() else None,
                name=self.wanted.name.strip() or None,
                report=lambda seen: progress.advance(seen - self.done),
            )
        except OSError as problem:
            where = f"Cannot read {problem.filename or self.wanted.folder}"
            raise UserError(f"{where}: {problem.strerror or problem}.") from problem
        except StoreError as problem:
            raise UserError(str(problem)) from problem


_lock = threading.Lock()
_latest: list[Adding] = []  # at most one


def latest() -> Adding | None:
    """Return the server's latest ingest, running or ended."""
    return _latest[0] if _latest else None


def start_adding(workspace: Workspace, wanted: Wanted) -> Adding:
    """Start an ingest. Raises UserError if one is running: two of the same folder would disturb each other."""
    with _lock:
        if _latest and _latest[0].running:
            raise UserError("Photos are being added already. Wait until that ends, or stop it.")
        _latest[:] = [Adding(workspace, wanted)]
        return _latest[0]
