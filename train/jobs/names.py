"""Names of the results of runs. A set or an encoder is never overwritten, so its name stays taken."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from orl_explorer.db.encoders import find_encoder
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import LIVE, runs
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace, file_name

SETS, ENCODERS = ("mine",), ("pretrain", "train", "adapt")  # kinds of runs that make them
IsTaken = Callable[[Workspace, str], bool]


def set_is_taken(workspace: Workspace, name: str) -> bool:
    """Whether a set has this name, or a run is making one."""
    return find_set(workspace.store, name) is not None or _in_the_making(workspace, name, *SETS)


def encoder_is_taken(workspace: Workspace, name: str) -> bool:
    """Whether an encoder has this name, or a run is making one."""
    return find_encoder(workspace.store, name) is not None or _in_the_making(workspace, name, *ENCODERS)


def refuse_taken_set(workspace: Workspace, name: str) -> None:
    """Raise UserError if a set has this name, or a run is making one."""
    if set_is_taken(workspace, name):
        raise UserError(f"The correspondence set '{name}' already exists or is being made. Choose another name.")


def refuse_taken_encoder(workspace: Workspace, name: str) -> None:
    """Raise UserError if an encoder has this name, a run is making one, or it cannot be a file name."""
    if encoder_is_taken(workspace, file_name(name)):
        raise UserError(f"The encoder '{name}' already exists or is being made. Choose another name.")


def refuse_taken_since(workspace: Workspace, run: Run) -> None:
    """Raise UserError if what a run makes has been made under its name by another, or another run is making it."""
    kinds = next((kinds for kinds in (SETS, ENCODERS) if run.kind in kinds), ())
    if not kinds:
        return
    find = find_set if kinds == SETS else find_encoder
    found = find(workspace.store, run.name)
    if (found is not None and found.run_id != run.id) or _in_the_making(workspace, run.name, *kinds, but=run.id):
        raise UserError(
            f"Run {run.id} cannot be resumed: its name '{run.name}' has been taken meanwhile. Start it again under "
            "another name."
        )


def free(workspace: Workspace, stem: str, taken: IsTaken) -> str:
    """Return the stem if it is free, else the stem with the first free number from 2."""
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(name for name in numbered if not taken(workspace, name))


def _in_the_making(workspace: Workspace, name: str, *kinds: str, but: int | None = None) -> bool:
    live = runs(workspace.store, LIVE)
    return any(run.name == name and run.kind in kinds and run.id != but for run in live)
