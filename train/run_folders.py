"""Whose folder a run's is. Ids come again where a store is replaced or restored from a backup; folders stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import run_by_id, update_run
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.workspace import Workspace

CONFIG = "config.json"  # in the folder: settings of the run, and whose it is
PROVENANCE = "provenance.json"  # in that of a training: how it came to its weights
OWNER = ("store", "run", "created_at")


def new_folder(workspace: Workspace, run_id: int) -> Path:
    """Make the folder of a run that nobody has started yet: ``runs/<id>``, or the next name where that is taken.

    Its log begins with a word about that.
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
    """The folder of a run, made if need be, to go on with what it holds. Raises UserError where that is another's."""
    run, folder = run_by_id(workspace.store, run_id), workspace.run_folder(run_id)
    if not _says_so(workspace, run, folder):
        _describe(workspace, run, folder)
    return folder


def can_go_on(workspace: Workspace, run: Run) -> bool:
    """Whether a run that has ended may be resumed, as far as its folder is concerned."""
    try:
        _says_so(workspace, run, workspace.run_folder(run.id))
    except UserError:
        return False
    return True


def _says_so(workspace: Workspace, run: Run, folder: Path) -> bool:
    """Whether a folder says that it is this run's; if not, it is free to. Raises UserError where it is another's."""
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
    """Whether two descriptions are of one run, as far as those say that name no store; a set may have been renamed."""
    return all(one.get(name) == other.get(name) for name in ("kind", "name", "config"))


def _refuse_other_measures(run: Run) -> None:
    """Of a run begun before folders said whose they are."""
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
