"""Renaming, deleting and comparing correspondence sets."""

from __future__ import annotations

import shlex
from typing import Any

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.sets.manage import Dependents, delete_set, dependents, remove_rows, rename_set
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launcher import reconcile
from orl_explorer.train.jobs.names import refuse_taken_set
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.orders import drop_matches
from orl_explorer.train.mining.search_index import drop_index
from orl_explorer.train.workspace import Workspace


def set_named(workspace: Workspace, name: str) -> CorrespondenceSet:
    """Return the set of this name, complete or not. Raises UserError if there is none."""
    found = find_set(workspace.store, name)
    if found is None:
        raise UserError(f"There is no correspondence set '{name}'. List the sets with `orl sets list`.")
    return found


def differences_from_paper(mined: CorrespondenceSet) -> dict[str, tuple[Any, Any]]:
    """Return the settings of a set that differ from the paper's: name -> (the set's, the paper's)."""
    paper = MineConfig().model_dump()
    own = MineConfig.of(mined).model_dump()
    return {name: (value, paper[name]) for name, value in own.items() if value != paper[name]}


def rename(workspace: Workspace, name: str, new: str) -> str:
    """Rename a set. Returns the name it has now, with single spaces. Raises UserError or StoreError if it cannot be."""
    found = set_named(workspace, name)
    new = " ".join(new.split())
    if new == name:
        return new
    refuse_taken_set(workspace, new)
    reconcile(workspace)  # a crashed run must not block it
    rename_set(workspace.store, found.id, new)
    workspace.log("rename", f"set {name}", f"to {new}")
    return new


def delete(workspace: Workspace, name: str, confirmed: str = "") -> Dependents:
    """Delete a set and return its dependents. If this raises UserError or StoreError, nothing is deleted.

    confirmed: the name of the set again, required if runs trained on it.
    """
    found = set_named(workspace, name)
    reconcile(workspace)
    remove_rows(workspace.store)  # left by an interrupted deletion
    affected = dependents(workspace.store, found.id)
    if affected.trained and confirmed != found.name:
        runs = "run" if len(affected.trained) == 1 else "runs"
        ids = ", ".join(str(run.id) for run in affected.trained)
        raise UserError(
            f"{runs.capitalize()} {ids} trained on the correspondence set '{name}'. Confirm its deletion with this name"
            + (f", not '{confirmed}'." if confirmed else f": --confirm {shlex.quote(name)}.")
        )
    delete_set(workspace.store, found.id, workspace.actor())
    workspace.log("delete", f"set {name}", f"set {found.id}")
    drop_matches(workspace, found.id)
    drop_index(workspace, found.id)
    return affected
