"""Shared by the commands: common options, JSON output, progress bars, and following a run until it ends."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import rich.progress
import typer

from orl_explorer.app import bars
from orl_explorer.app.cli.ending import STOPPED
from orl_explorer.app.cli.terminal import Terminal
from orl_explorer.app.options import Detach as Detach
from orl_explorer.app.options import Json as Json
from orl_explorer.app.options import Nodes as Nodes
from orl_explorer.app.options import On as On
from orl_explorer.app.options import QueueOnly as QueueOnly
from orl_explorer.app.options import Where as Where
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import ENDED, run_by_id, waits_for_worker
from orl_explorer.train.jobs import launcher
from orl_explorer.train.workspace import Workspace

LARGEST = 2**31 - 1  # number that every database takes, for ids and limits

out = Terminal()


def bounded(value: int) -> int:
    """Callback of an option: return a number that every database takes. Raises BadParameter for any other."""
    if abs(value) > LARGEST:
        raise typer.BadParameter(f"{value} is too large. Use at most {LARGEST}.")
    return value


def print_json(value: Any) -> None:
    """Print JSON to standard output, unwrapped, for other programs."""
    print(json.dumps(value, indent=1))


def pass_on(context: typer.Context, workspace: Path | None, json: bool) -> None:
    """Pass a group's options to its commands: ``orl runs --json list`` means ``orl runs list --json``."""
    if workspace is not None:
        os.environ["ORL_WORKSPACE"] = str(workspace)
    if json and context.invoked_subcommand is not None:
        context.default_map = {context.invoked_subcommand: {"json": True}}


def progress_bar(total: bool = True, json: bool = False) -> rich.progress.Progress:
    """Return progress bars. With JSON output they go to standard error."""
    return bars.progress_bars(total, Terminal(stderr=True) if json else out)


def follow_run(workspace: Workspace, run: Run, detach: bool) -> None:
    """Show a run's progress until it ends. Ctrl-C stops the run; a second Ctrl-C stops only the waiting."""
    if waits_for_worker(run):
        out.print(f"{waiting_for_worker(run)} On a machine that has this folder, start:")
        print(launcher.worker_line(workspace, run))
        return
    if detach:
        out.print(f"Run {run.id} continues in the background. See `orl runs show {run.id}`.")
        return
    interrupted = False
    try:
        ended = _watch(workspace, run.id)
    except KeyboardInterrupt:
        out.print(f"Stopping run {run.id} …")
        interrupted = True
        ended = launcher.stop(workspace, run.id)
    if ended.status == "done":
        out.print(f"Run {run.id} is done: {run.kind} made '{run.name}'.")
        return
    out.print(how_it_ended(ended))
    raise typer.Exit(STOPPED if interrupted else ended.exit_code or 1)


def waiting_for_worker(run: Run) -> str:
    """Describe what a run waits for that starts when a person starts its processes."""
    shared = f" in {run.processes} processes on {run.nodes} machines" if run.nodes > 1 else ""
    return f"Run {run.id} waits for a worker{shared}."


def how_it_ended(run: Run) -> str:
    """Describe how an unfinished run ended, and what to do next."""
    next_step = f"Resume it with `orl runs resume {run.id}`."
    if run.status == "cancelled":
        where = f" on {run.host}" if run.host not in ("", platform.node()) else ""
        return " ".join(part for part in (f"Run {run.id}{where} was stopped.", run.error, next_step) if part)
    reason = f": {run.error.rstrip('.')}." if run.error and run.status == "failed" else "."
    return f"Run {run.id} {run.status}{reason} See `orl runs logs {run.id}`. {next_step}"


def _watch(workspace: Workspace, run_id: int) -> Run:
    with progress_bar() as bar:
        task, phase, total = bar.add_task("Waiting", total=None), "", 0
        while True:
            run = run_by_id(workspace.store, run_id)
            if run.phase != phase:
                if phase:
                    bar.update(task, completed=total, total=total)  # stops its clock, also if nothing was to do
                    task = bar.add_task(run.phase)
                else:
                    bar.reset(task, description=run.phase)
                phase = run.phase
            total = run.total
            bar.update(task, completed=run.progress, total=run.total or None)
            if run.status in ENDED:
                return run
            launcher.refresh(workspace, run)
            time.sleep(0.3)
