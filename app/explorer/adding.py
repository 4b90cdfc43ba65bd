"""The ingest that the explorer runs, in a thread of the server: it continues when a person leaves the page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL.Image import Image

from orl_explorer.app.explorer.background import BackgroundWork
from orl_explorer.app.explorer.paths import allowed_path
from orl_explorer.db.photos import datasets, known_files
from orl_explorer.db.store import StoreError
from orl_explorer.orl.pixels import UnreadableImage, read_image
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.findings import sentences
from orl_explorer.train.ingest.ingest import Ingested, ingest, photos_in
from orl_explorer.train.ingest.layouts import Layout
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace

PICTURES = 6  # shown of a folder before its photos are added
LAYOUTS = {
    "folder": "without annotations",
    "coco": "with annotations of COCO",
    "voc": "with annotations of VOC",
}


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

    def paths(self) -> tuple[Path, Path | None]:
        """Return the folder and the annotation file. Raises UserError if this explorer may not read them."""
        annotations = allowed_path(self.annotations) if self.annotations.strip() else None
        return allowed_path(self.folder), annotations


@dataclass(frozen=True)
class Glimpse:
    """What an ingest would take: the number of photos, of those known already, and pictures of some, by name."""

    root: Path
    dataset: str
    layout: str
    count: int
    known: int
    left_out: list[str]
    pictures: list[tuple[str, Image]]


class Looking(BackgroundWork):
    """A look at a folder before its photos are added. Nothing is stored."""

    def __init__(self, workspace: Workspace, wanted: Wanted) -> None:
        self.wanted = wanted
        self.found: Glimpse | None = None
        acting = workspace.for_a_thread()
        super().__init__(lambda _: self._look(acting))

    def _look(self, workspace: Workspace) -> None:
        with wanted_files(self.wanted):
            layout = photos_in(workspace, *self.wanted.paths(), layout=self.wanted.layout)
            name = self.wanted.name.strip() or layout.root.name
            dataset = next((row for row in datasets(workspace.store) if row.name == name), None)
            known = known_files(workspace.store, dataset.id, layout.paths) if dataset else {}
            about, left_out = LAYOUTS[layout.name], sentences(layout.findings.all())
            self.found = Glimpse(layout.root, name, about, len(layout.paths), len(known), left_out, _pictures(layout))


def _pictures(layout: Layout) -> list[tuple[str, Image]]:
    """Return small pictures of the first photos that can be read."""
    found: list[tuple[str, Image]] = []
    for path in layout.paths[: 4 * PICTURES]:
        try:
            picture = read_image(layout.root / path)
        except (UnreadableImage, OSError):  # the ingest will name it
            continue
        picture.thumbnail((240, 240))
        found.append((PurePosixPath(path).name, picture))
        if len(found) == PICTURES:
            break
    return found


class Adding(BackgroundWork):
    """An ingest and its result. ``done``: the number of files read so far."""

    def __init__(self, workspace: Workspace, wanted: Wanted) -> None:
        self.wanted = wanted
        self.found: Ingested | None = None
        acting = workspace.for_a_thread()
        super().__init__(lambda progress: self._ingest(acting, progress))

    def _ingest(self, workspace: Workspace, progress: Progress) -> None:
        progress.phase("Reading photos", 0)
        with wanted_files(self.wanted):
            folder, annotations = self.wanted.paths()
            self.found = ingest(
                workspace,
                folder,
                layout=self.wanted.layout,
                annotations=annotations,
                name=self.wanted.name.strip() or None,
                report=lambda seen: progress.advance(seen - self.done),
            )


@contextmanager
def wanted_files(wanted: Wanted) -> Iterator[None]:
    """Turn failures of reading what a person named into UserErrors."""
    try:
        yield
    except OSError as problem:
        where = f"Cannot read {problem.filename or wanted.folder}"
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
