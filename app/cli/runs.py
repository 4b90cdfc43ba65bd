"""``orl runs``: list, show, note, tag, stop and resume runs. ``orl worker``: work on one that waits for a worker."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from orl_explorer.app.cli.common import (
    Detach,
    Json,
    Nodes,
    On,
    QueueOnly,
    Where,
    bounded,
    follow_run,
    how_it_ended,
    out,
    pass_on,
    print_json,
)
from orl_explorer.app.cli.terminal import TextTable
from orl_explorer.app.records import run_record
from orl_explorer.db.models import Run
from orl_explorer.db.people.notes import note_run, tag_run
from orl_explorer.db.people.tags import clean_tag
from orl_explorer.db.runs.runs import LOCAL, latest_metrics, run_by_id, waits_for_worker
from orl_explorer.db.runs.runs import runs as all_runs
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.launchers.choice import placement
from orl_explorer.train.jobs.repeat import command_of
from orl_explorer.train.jobs.trackers import TITLES, TrackerName, cannot_send, refuse_missing_tracker, send
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace, open_to_look, open_workspace

RunId = Annotated[int, typer.Argument(metavar="ID", callback=bounded, help="Number of the run, as in `orl runs`.")]

runs_app = typer.Typer(help="List, show, note, tag, stop and resume runs.", invoke_without_command=True)


@runs_app.callback()
def runs_command(context: typer.Context, workspace: Where = None, json: Json = False) -> None:
    """List, show, note, tag, stop and resume runs."""
    pass_on(context, workspace, json)
    if context.invoked_subcommand is None:
        list_runs(workspace, json)


@runs_app.command("list")
def list_runs(
    workspace: Where = None,
    json: Json = False,
    tag: Annotated[str, typer.Option(help="List only the runs with this tag.")] = "",
) -> None:
    """List the runs, newest first."""
    opened = _up_to_date(workspace)
    every = all_runs(opened.store)
    shown = [run for run in every if not tag or tag in run.tags]
    if json:
        print_json([run_record(opened, run) for run in shown])
        return
    table = TextTable("id", "kind", "name", "status", "progress", "created", "tags")
    for run in shown:
        created = f"{run.created_at:%Y-%m-%d %H:%M}"
        table.add_row(str(run.id), run.kind, run.name, run.status, _progress_of(run), created, ", ".join(run.tags))
    if shown:
        out.print(table)
    elif every:
        out.print(f"No run has the tag {tag}.")
    else:
        out.print("No runs yet. Start one with `orl mine`, `orl pretrain` or `orl train`.")


@runs_app.command("show")
def show_run_command(run_id: RunId, workspace: Where = None, json: Json = False) -> None:
    """Show a run's settings, progress and newest metrics."""
    opened = _up_to_date(workspace)
    run = run_by_id(opened.store, run_id)
    if json:
        print_json(run_record(opened, run) | {"metrics": latest_metrics(opened.store, run.id)})
        return
    table = TextTable(show_header=False, box=None)
    facts: dict[str, object] = {
        "run": f"{run.id} ({run.kind})",
        "makes": run.name,
        "status": run.status,
        "progress": _progress_of(run),
        "works on": _where(run),
        "take it with": launcher.worker_line(opened, run) if waits_for_worker(run) else "",
        "error": run.error or "",
        "note": run.note,
        "tags": ", ".join(run.tags),
        "repeat it with": shlex.join(command_of(run)),
        "exit code": "" if run.exit_code is None else run.exit_code,
        "folder": opened.run_folder(run.id),
    }
    settings = run.params.get("config", {})
    facts |= {k: v for k, v in run.params.items() if k != "config" and v is not None}
    facts |= {f"  {key}": value for key, value in settings.items()}
    facts |= {key: f"{value:.4g}" for key, value in latest_metrics(opened.store, run.id).items()}
    for key, value in facts.items():
        if value != "":
            table.add_row(key, str(value))
    out.print(table)


@runs_app.command("logs")
def show_logs(run_id: RunId, workspace: Where = None) -> None:
    """Print a run's log."""
    opened = open_to_look(workspace)
    run = run_by_id(opened.store, run_id)
    print(launcher.read_log(opened, run, last_bytes=10_000_000), end="")


@runs_app.command("note")
def note(
    run_id: RunId, text: Annotated[str, typer.Argument(help='The note. "" removes it.')], workspace: Where = None
) -> None:
    """Write a note on a run, in place of the one that it has."""
    note_run(open_workspace(workspace).store, run_id, text)


@runs_app.command("tag")
def tag(
    run_id: RunId,
    tags: Annotated[list[str], typer.Argument(metavar="TAG…", help="Tags to add.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove these tags instead.")] = False,
    workspace: Where = None,
) -> None:
    """Put tags on a run."""
    store = open_workspace(workspace).store
    given, own = {clean_tag(tag) for tag in tags}, set(run_by_id(store, run_id).tags)
    kept = tag_run(store, run_id, own - given if remove else own | given)
    out.print(f"Tags of run {run_id}: {', '.join(kept)}." if kept else f"Run {run_id} has no tags.")


@runs_app.command("send")
def send_run(
    run_id: RunId,
    to: Annotated[TrackerName, typer.Option(help="Tracker, which must be installed.")],
    workspace: Where = None,
) -> None:
    """Send a run's curves to a tracker: those that it does not have yet."""
    opened = open_workspace(workspace)
    run_by_id(opened.store, run_id)
    refuse_missing_tracker(to)
    try:
        steps, where = send(opened, run_id, to)
    except Exception as problem:  # whatever a tracker or its network raises
        raise UserError(cannot_send(to, problem)) from problem
    out.print(f"Sent {plural(steps, 'step')} to {TITLES[to]}: {where}.")


@runs_app.command("stop")
def stop_run(
    run_id: RunId,
    grace: Annotated[float, typer.Option(min=0, help="Seconds to wait before killing the run.")] = launcher.GRACE,
    workspace: Where = None,
) -> None:
    """Stop a run after it has saved its work. Kill it if it does not stop in time."""
    run = launcher.stop(open_workspace(workspace), run_id, grace)
    out.print(how_it_ended(run))


@runs_app.command("resume")
def resume_run(
    run_id: RunId,
    on: On = "",
    nodes: Nodes = 1,
    queue_only: QueueOnly = False,
    workspace: Where = None,
    detach: Detach = False,
) -> None:
    """Resume a stopped, failed or crashed run from its last checkpoint, where it was launched unless told otherwise."""
    opened = open_workspace(workspace)
    elsewhere = placement(opened, on, nodes, queue_only) if on or queue_only or nodes > 1 else None
    follow_run(opened, launcher.resume(opened, run_id, elsewhere), detach)


def work_on_run(run_id: RunId, workspace: Where = None) -> None:
    """Work on a run that was queued with --queue-only. Ctrl-C stops it.

    To share a training, start this command on each machine by torchrun. `orl runs show ID` prints the whole line.
    """
    from orl_explorer.train.jobs.worker import work

    raise typer.Exit(work(open_workspace(workspace), run_id))


def _where(run: Run) -> str:
    """Say which machine works on a run, and what has started it there."""
    by = "" if run.launcher == LOCAL else f"{run.launcher}{f', job {run.handle}' if run.handle else ''}"
    spread = f"{run.processes} processes on {run.nodes} machines" if run.nodes > 1 else ""
    return "; ".join(part for part in (run.host, by, spread) if part)


def _up_to_date(path: Path | None) -> Workspace:
    """Open a workspace after marking runs whose process has ended. On a read-only disk, runs stay as they were."""
    opened = open_to_look(path)
    if not opened.store.read_only:
        launcher.reconcile(opened)
    return opened


def _progress_of(run: Run) -> str:
    if waits_for_worker(run):
        return "waits for a worker"
    return f"{run.phase} {run.progress}/{run.total}" if run.total else run.phase
