"""Compaction of an encoder's features: the rows of imported parts are appended to its growing arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from orl_explorer.db.encoders import encoder_named
from orl_explorer.train.files import said_plainly
from orl_explorer.train.mining.embeddings import Embeddings, part_paths
from orl_explorer.train.mining.features import widths_of
from orl_explorer.train.mining.part_files import PartFile
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import Precision
from orl_explorer.train.workspace import Workspace


@dataclass(frozen=True)
class Compacted:
    """Result of a compaction: number of files that were taken in and removed, and of rows that were appended."""

    files: int
    rows: int


def compact(workspace: Workspace, encoder: str, progress: Progress | None = None) -> Compacted:
    """Append the rows of all imported parts of an encoder to its growing arrays, and remove the parts.

    A part is removed after all its rows have reached the disk, so an interrupted compaction loses nothing. Run it again
    to finish it. Raises UserError or StoreError.
    """
    workspace.store.refuse_read_only()
    progress = progress or Progress()
    row = encoder_named(workspace.store, encoder)
    folders = [workspace.embeddings / row.name / ("" if p == "fp32" else p) for p in get_args(Precision)]
    todo = [(folder, path) for folder in folders for path in part_paths(folder)]
    progress.phase("Compacting features", len(todo))
    rows = 0
    for folder, path in todo:
        part = PartFile.read(path)
        part.check()
        for kind, width in widths_of(row).items():
            rows += Embeddings(folder, kind, width, row.weights_sha256).take_in(part)
        with said_plainly(path):
            path.unlink()
        progress.advance()
    return Compacted(len(todo), rows)
