"""Files that a store names and its workspace lacks: of a folder that was copied in part, or of another one."""

from __future__ import annotations

from pathlib import Path

from orl_explorer.db.encoders import VECTORS, encoders
from orl_explorer.db.runs.runs import ENDED, runs
from orl_explorer.db.sets.read import sets
from orl_explorer.train.workspace import Workspace

NAMED = 3  # of a kind, in a sentence


def missing_files(workspace: Workspace) -> dict[str, list[str]]:
    """Return the names of encoders without weights, of runs without a folder, and of encoders without features."""
    known = {row.id: row for row in encoders(workspace.store)}
    mined = {found.encoder_id for found in sets(workspace.store)} & known.keys()
    needed = sorted(mined | {i for i, row in known.items() if row.kind == VECTORS})  # nothing can compute those again
    found = {
        "weights of": [
            row.name
            for row in known.values()
            if row.kind != VECTORS and not (workspace.path / row.weights_path).is_file()
        ],
        "folders of runs": [
            str(run.id)
            for run in reversed(runs(workspace.store, ENDED))
            if not (workspace.path / run.log_path).parent.is_dir()
        ],
        "features of": [known[i].name for i in needed if not _has_rows(workspace.embeddings / known[i].name)],
    }
    return {kind: names for kind, names in found.items() if names}


def _has_rows(folder: Path) -> bool:
    """Whether a folder holds features of any precision, computed here or imported."""
    return any(file.suffix in (".vectors", ".part") for file in folder.rglob("*"))


def missing_in_words(missing: dict[str, list[str]]) -> str:
    """Return a clause: *weights of a and b, folders of runs 3, 4, 5 and 2 more*."""
    return ", ".join(f"{kind} {_some(names)}" for kind, names in missing.items())


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
