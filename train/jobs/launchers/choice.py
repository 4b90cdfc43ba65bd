"""Which launcher a run has: asked for at its launch, else the default of the workspace.

``settings.toml`` in the workspace holds the default and what engines are asked for. It is written by hand:

    [launch]
    on = "slurm"

    [slurm]
    partition = "gpu"
    time = "8:00:00"
    gpus_per_node = 4
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import LOCAL, QUEUE_ONLY
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launchers import ray, slurm
from orl_explorer.train.jobs.launchers.base import Launcher
from orl_explorer.train.jobs.launchers.local import LocalLauncher
from orl_explorer.train.workspace import Workspace

FILE = "settings.toml"
RAY, SLURM = "ray", "slurm"
AT = "ray://"  # before the address of a cluster
TABLES = {"launch": ("on",), RAY: ray.OPTIONS, SLURM: (*slurm.OPTIONS, slurm.SETUP)}


@dataclass(frozen=True)
class Placement:
    """Where a run works. on: local, ray, ray://ADDRESS, slurm or queue-only. nodes: machines that share the work."""

    on: str = LOCAL
    nodes: int = 1


def placement(workspace: Workspace, on: str = "", nodes: int = 1, queue_only: bool = False) -> Placement:
    """Return where a run is asked to work. on: "" for the default of the workspace. Raises UserError."""
    if queue_only and on:
        raise UserError(f"Give either --queue-only or --on {on}: a queued run waits for a worker that you start.")
    chosen = QUEUE_ONLY if queue_only else on or default_launcher(workspace)
    if chosen not in (LOCAL, RAY, SLURM, QUEUE_ONLY) and not (chosen.startswith(AT) and len(chosen) > len(AT)):
        raise UserError(f"Invalid value for --on: {chosen}. Use local, ray, ray://ADDRESS or slurm.")
    if nodes > 1 and chosen not in (SLURM, QUEUE_ONLY):
        here = "A local run" if chosen == LOCAL else "A run on Ray"
        raise UserError(f"{here} uses one machine, not {nodes}. Use --on slurm, or --queue-only and torchrun.")
    return Placement(chosen, nodes)


def default_launcher(workspace: Workspace) -> str:
    """Return the launcher that the workspace names. Raises UserError if its settings are wrong."""
    return str(workspace_settings(workspace).get("launch", {}).get("on", LOCAL))


def workspace_settings(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Read ``settings.toml``: tables of settings. Raises UserError if it holds what nothing reads."""
    path = workspace.path / FILE
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {path}: {error}.") from error
    for table, values in found.items():
        if table not in TABLES or not isinstance(values, dict):
            raise UserError(f"Unknown table in {path}: {table}. Known tables: {', '.join(TABLES)}.")
        for name in values:
            if name not in TABLES[table]:
                raise UserError(f"Unknown key in {path}: {name} of [{table}]. Known keys: {', '.join(TABLES[table])}.")
    return found


def launcher_named(workspace: Workspace, on: str) -> Launcher | None:
    """Return a launcher, ready to start runs; None if a person starts them. Raises UserError if it cannot be used."""
    if on == QUEUE_ONLY:
        return None
    if on == LOCAL:
        return LocalLauncher()
    settings = workspace_settings(workspace)
    if on == SLURM:
        return slurm.SlurmLauncher(settings.get(SLURM))
    return ray.RayLauncher(on.removeprefix(AT) if on.startswith(AT) else "", settings.get(RAY))


def engine_of(run: Run) -> Launcher | None:
    """Return the engine that schedules a run; None if there is none. Raises UserError if it is not installed here."""
    if run.launcher == SLURM:
        return slurm.SlurmLauncher()
    return ray.RayLauncher() if is_ray_job(run) else None


def is_ray_job(run: Run) -> bool:
    """Whether a run is a job of a Ray cluster."""
    return run.launcher == RAY or run.launcher.startswith(AT)
