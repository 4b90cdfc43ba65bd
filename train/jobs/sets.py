"""What a person may do to a correspondence set as a whole, and what tells one from another."""

from __future__ import annotations

from typing import Any

from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.sets.manage import Dependents, delete_set, dependents, remove_rows, rename_set
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launcher import reconcile
from orl_explorer.train.jobs.names import refuse_taken_set
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.orders import drop_matches
from orl_explorer.train.workspace import Workspace


def set_named(workspace: Workspace, name: str) -> CorrespondenceSet:
    """The set of this name, complete or not. Raises UserError."""
    found = find_set(workspace.store, name)
    if found is None:
        raise UserError(f"There is no correspondence set named '{name}'; `orl sets list` shows those there are.")
    return found


def differences_from_paper(mined: CorrespondenceSet) -> dict[str, tuple[Any, Any]]:
    """Settings of a set that are not the paper's: name -> (the set's, the paper's)."""
    paper = MineConfig().model_dump()
    own = MineConfig.of(mined).model_dump()
    return {name: (value, paper[name]) for name, value in own.items() if value != paper[name]}


def rename(workspace: Workspace, name: str, new: str) -> None:
    """Rename a set. Raises UserError or StoreError with the reason why not."""
    found = set_named(workspace, name)
    new = " ".join(new.split())
    if new == name:
        return
    refuse_taken_set(workspace, new)
    reconcile(workspace)  # a run that died must not stand in the way
    rename_set(workspace.store, found.id, new)


def delete(workspace: Workspace, name: str, author: str, confirmed: str = "") -> Dependents:
    """Delete a set; returns what depended on it. Raises UserError or StoreError, and then nothing is gone.

    confirmed: the name of the set once more, which is asked for when runs trained on it.
    """
    found = set_named(workspace, name)
    reconcile(workspace)
    remove_rows(workspace.store)  # of a deletion that was interrupted
    affected = dependents(workspace.store, found.id)
    if affected.trained and confirmed != found.name:
        runs = "run" if len(affected.trained) == 1 else "runs"
        ids = ", ".join(str(run.id) for run in affected.trained)
        raise UserError(
            f"{runs.capitalize()} {ids} trained on the correspondence set '{name}'; repeat its name to delete it still."
        )
    delete_set(workspace.store, found.id, author)
    drop_matches(workspace, found.id)
    return affected
