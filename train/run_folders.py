"""Ownership of run folders. A new store or a restored backup reuses ids of runs, while old folders remain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import run_by_id, update_run
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.workspace import Workspace

CONFIG = "config.json"  # in the folder: settings of the run, and the store and run that own it
OWNER = ("store", "run", "created_at")


def new_folder(workspace: Workspace, run_id: int) -> Path:
    """Create the folder of a new run: ``runs/<id>``, or ``runs/<id>-2`` and so on if that is taken.

    If it is taken, the first line of the log says so.
    """
    run, number = run_by_id(workspace.store, run_id), 1
    folder = workspace.path / "runs" / str(run_id)
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = folder.with_name(f"{run_id}-{number}")
    _describe(workspace, run, folder)
    if number > 1:
        log = folder / "log.txt"
        update_run(workspace.store, run_id, log_path=log.relative_to(workspace.path).as_posix())
        said = f"runs/{run_id} holds the files of another store's run. This run uses runs/{folder.name}."
        log.write_text(f"{said}\n")
    return folder


def own_folder(workspace: Workspace, run_id: int) -> Path:
    """Return the folder of a run to resume, created if needed. Raises UserError if it belongs to another run."""
    run, folder = run_by_id(workspace.store, run_id), workspace.run_folder(run_id)
    if not _says_so(workspace, run, folder):
        _describe(workspace, run, folder)
    return folder


def can_go_on(workspace: Workspace, run: Run) -> bool:
    """Return whether the folder of an ended run allows it to be resumed."""
    try:
        _says_so(workspace, run, workspace.run_folder(run.id))
    except UserError:
        return False
    return True


def _says_so(workspace: Workspace, run: Run, folder: Path) -> bool:
    """Return whether a folder is marked as this run's; if not, it is free. Raises UserError if it is another run's."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    found = _description(folder)
    if found.keys().isdisjoint(OWNER) and _same_task(found, _settings(run)):
        _refuse_other_measures(run)
        return False
    if {name: found.get(name) for name in OWNER} != _owner(workspace, run):
        raise UserError(
            f"{folder} holds the files of another run, from another store or from before a backup was restored. "
            f"Move the folder away, then resume run {run.id}: it starts again."
        )
    return True


def _same_task(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two descriptions without a store are of one run; a set may have been renamed."""
    return all(one.get(name) == other.get(name) for name in ("kind", "name", "config"))


def _refuse_other_measures(run: Run) -> None:
    """Refuse to resume evaluations from before folders recorded their owner."""
    if run.kind == "evaluate":
        raise UserError(
            f"Run {run.id} was started by an earlier version, which resized photos and chose costs differently. "
            "Start a new evaluation instead of resuming it."
        )


def _describe(workspace: Workspace, run: Run, folder: Path) -> None:
    content = json.dumps(_owner(workspace, run) | _settings(run), indent=1).encode()
    publish(lambda file: file.write(content), folder / CONFIG)


def _description(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / CONFIG).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _settings(run: Run) -> dict[str, Any]:
    return {"kind": run.kind, "name": run.name} | run.params


def _owner(workspace: Workspace, run: Run) -> dict[str, Any]:
    return {"store": workspace.store.identity, "run": run.id, "created_at": run.created_at.isoformat()}
