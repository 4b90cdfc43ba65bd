"""Launching, watching, stopping and resuming runs. The row of a run in the store holds its state.

What starts the processes is in `launchers`. This module does not import torch, so the explorer can start runs and stay
light.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import (
    ENDED,
    LIVE,
    LOCAL,
    QUEUE_ONLY,
    add_run,
    find_run,
    run_by_id,
    runs,
    update_run,
)
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import module_command
from orl_explorer.train.jobs.job import Job
from orl_explorer.train.jobs.kinds import job_of
from orl_explorer.train.jobs.launchers.choice import Placement, engine_of, launcher_named, placement
from orl_explorer.train.jobs.launchers.local import LocalLauncher, is_here
from orl_explorer.train.jobs.names import refuse_taken_since
from orl_explorer.train.run_folders import new_folder, own_folder
from orl_explorer.train.workspace import Workspace

GRACE = 30.0  # seconds between the request to stop a run and its kill
ANSWER = 10.0  # seconds that another host or an engine may take to end a run
STARTING = timedelta(seconds=10)  # between the launch of a local run and the note of its process
SILENT = timedelta(seconds=15)  # without a heartbeat, the engine of a run is asked
STALE = timedelta(seconds=60)  # without a heartbeat, a run on another host counts as crashed
IMPORTING = timedelta(minutes=5)  # until the process of a queued run has its first heartbeat, on a busy host
ASKED = 30.0  # seconds for which the answer of an engine counts
PORT = 29400  # at which the machines of a run meet, torchrun's own
TORCHRUN = "PYTHONSAFEPATH=1 torchrun"  # whose processes would otherwise import files of the current folder
_WORKER = "orl_explorer.train.jobs.worker"
_answers: dict[tuple[str, str | None], tuple[float, bool]] = {}  # by launcher and handle: when asked, whether alive


def launch(
    workspace: Workspace, job: Job, brings: Mapping[str, Path] | None = None, placed: Placement | None = None
) -> Run:
    """Queue a run that does a job, and start its process. Raises UserError or StoreError if the job cannot run.

    brings: files to move into the run's folder, by their names there. placed: where it works; None for the default of
    the workspace. If the job's kind joins and a live run does the same work, that run is returned instead.
    """
    workspace.store.refuse_read_only()
    placed = placed or placement(workspace)
    job = job.named(workspace)
    job.check(workspace)
    job.share(placed.nodes)
    launcher_named(workspace, placed.on)  # refuses what is not installed
    if job.joins:
        reconcile(workspace)
        if (doing := run_doing(workspace, job)) is not None:
            return doing
    row = job.row(workspace)
    row.launcher, row.nodes, row.processes = placed.on, placed.nodes, placed.nodes * job.together
    row.host = platform.node() if placed.on == LOCAL else ""
    run = add_run(workspace.store, row)
    folder = new_folder(workspace, run.id)
    for name, path in (brings or {}).items():
        path.rename(folder / name)
    workspace.log("launch", f"run {run.id}", f"{job.described}: {run.name}")
    return _start(workspace, run_by_id(workspace.store, run.id))


def run_doing(workspace: Workspace, job: Job) -> Run | None:
    """Return a live run that does the same work as a job, or None."""
    for run in runs(workspace.store, LIVE):
        with contextlib.suppress(UserError):  # written by another version
            if run.kind == job.kind and job.does_the_same(job_of(run)):
                return run
    return None


def resume(workspace: Workspace, run_id: int, placed: Placement | None = None) -> Run:
    """Queue an ended run again. It continues from its checkpoints. Raises UserError if it cannot be resumed.

    placed: where it works now; None for where it was.
    """
    workspace.store.refuse_read_only()
    reconcile(workspace)
    run = run_by_id(workspace.store, run_id)
    if run.status == "done":
        raise UserError(f"Run {run_id} is done. There is nothing to resume.")
    if run.status in ENDED:
        refuse_taken_since(workspace, run)
    queued: dict[str, Any] = {"status": "queued", "pid": None, "ended_at": None, "exit_code": None, "error": None}
    on = run.launcher
    if placed is not None:
        job = job_of(run)
        job.share(placed.nodes)
        on = placed.on
        queued |= {"launcher": on, "nodes": placed.nodes, "processes": placed.nodes * job.together}
    if run.status in ENDED:
        own_folder(workspace, run_id)
        launcher_named(workspace, on)
    queued |= {"handle": None, "kill_asked": False, "host": platform.node() if on == LOCAL else ""}
    queued["heartbeat_at"] = now()  # else it counts as crashed until its process starts
    if not update_run(workspace.store, run_id, only_if=ENDED, **queued):
        raise UserError(f"Run {run_id} is {run.status}. Only a run that has ended can be resumed.")
    workspace.log("resume", f"run {run_id}", run.name)
    return _start(workspace, run_by_id(workspace.store, run_id))


def _start(workspace: Workspace, run: Run) -> Run:
    launcher = launcher_named(workspace, run.launcher)
    if launcher is not None:
        try:
            handle = launcher.start(workspace, run, worker_command(workspace, run.id))
        except UserError as refusal:
            said = str(refusal)
            update_run(workspace.store, run.id, only_if=LIVE, status="failed", error=said, ended_at=now())
            raise
        update_run(workspace.store, run.id, handle=handle)
    return run_by_id(workspace.store, run.id)


def worker_command(workspace: Workspace, run_id: int) -> list[str]:
    """Return the command line of a run's process."""
    return module_command(_WORKER, "--workspace", str(workspace.path), str(run_id))


def worker_line(workspace: Workspace, run: Run) -> str:
    """Return the command that takes a run which waits for a worker, for people to copy.

    With several machines, it is the command for each of them, and HOST is the name of one.
    """
    asked = f"worker {run.id} --workspace {shlex.quote(str(workspace.path))}"
    each = run.processes // max(1, run.nodes)
    if run.nodes > 1:
        meeting = f"--rdzv-backend c10d --rdzv-id {run.id} --rdzv-endpoint HOST:{PORT}"
        return f"{TORCHRUN} --nnodes {run.nodes} --nproc-per-node {each} {meeting} -m orl_explorer {asked}"
    if each != run.params.get("processes", 1):  # the last worker had others than the job starts itself
        return f"{TORCHRUN} --standalone --nproc-per-node {each} -m orl_explorer {asked}"
    return f"orl {asked}"


def identity() -> dict[str, Any]:
    """Return host, pid and start time of this process, for a run's row."""
    return {"host": platform.node(), "pid": os.getpid(), "pid_started_at": psutil.Process().create_time()}


# Watching ------------------------------------------------------------------------------------------------


def is_alive(run: Run) -> bool:
    """Whether a run waits or works, as far as its row and this machine can say. No engine is asked."""
    if run.pid is None or run.pid_started_at is None:
        return run.launcher != LOCAL or silence(run) < STARTING
    if run.host != platform.node():
        return silence(run) < (IMPORTING if run.status == "queued" else STALE)
    return is_here(run)


def silence(run: Run) -> timedelta:
    """Return the time since the last heartbeat of a run."""
    return now() - (run.heartbeat_at or run.created_at)


def reconcile(workspace: Workspace) -> list[int]:
    """Mark runs whose process is gone as crashed, or as cancelled if they were stopping. Return their ids."""
    gone = []
    for run in runs(workspace.store, LIVE):
        if not _lives(workspace, run):
            status = "cancelled" if run.status == "stopping" else "crashed"
            error = None if status == "cancelled" else _lost(run)
            changed = {"status": status, "ended_at": now(), "error": error}
            if update_run(workspace.store, run.id, only_if=(run.status,), owner=(run.host, run.pid), **changed):
                gone.append(run.id)
    return gone


def _lost(run: Run) -> str:
    if run.pid is None and run.launcher != LOCAL:
        return f"Its job ended before it began ({run.launcher}: {run.handle}). See whether its host has the workspace."
    return "Its process ended unexpectedly."


def _lives(workspace: Workspace, run: Run, ask: bool = False) -> bool:
    """Whether a run waits or works. Its engine is asked if the run has not begun or is silent, or if ``ask``."""
    if run.launcher in (LOCAL, QUEUE_ONLY):
        return is_alive(run)
    if run.handle is None:  # about to be submitted
        return silence(run) < STALE
    if not ask and run.pid is not None and silence(run) < SILENT:
        return True
    key, clock = (run.launcher, run.handle), time.monotonic()
    asked, alive = _answers.get(key, (-ASKED, True))
    if ask or clock - asked > ASKED:
        try:
            engine = engine_of(run)
            alive = engine is not None and engine.alive(workspace, run)
        except UserError:  # it does not answer, or is not installed here
            alive = is_alive(run)
        _answers[key] = clock, alive
    return alive


def wait(workspace: Workspace, run_id: int, every: float = 0.2) -> Run:
    """Block until a run has ended."""
    while True:
        run = find_run(workspace.store, run_id)
        if run is None or run.status in ENDED:
            return run_by_id(workspace.store, run_id)
        refresh(workspace, run)
        time.sleep(every)


def refresh(workspace: Workspace, run: Run) -> None:
    """Update the states of runs if one that somebody waits for may be gone."""
    if run.launcher not in (LOCAL, QUEUE_ONLY) or not is_alive(run):
        reconcile(workspace)


def read_log(workspace: Workspace, run: Run, last_bytes: int = 16_384) -> str:
    """Return the end of a run's log, and of those of its processes on other machines."""
    path = workspace.path / run.log_path
    said = _end_of(path, last_bytes)
    for other in sorted(path.parent.glob("log-*.txt")):
        if text := _end_of(other, last_bytes):
            said += f"Process {other.stem.removeprefix('log-')}:\n{text}"
    return said


def _end_of(path: Path, last_bytes: int) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - last_bytes))
        return file.read().decode(errors="replace")


# Stopping ------------------------------------------------------------------------------------------------


def request_stop(workspace: Workspace, run_id: int) -> Run:
    """Ask a run to stop at its next safe point. A run that has no process yet never starts."""
    workspace.store.refuse_read_only()
    reconcile(workspace)
    run = run_by_id(workspace.store, run_id)
    if run.status in ENDED:
        raise UserError(f"Run {run_id} has already ended ({run.status}).")
    if run.launcher != LOCAL and run.pid is None:
        _call_off(workspace, run)
    elif update_run(workspace.store, run_id, only_if=("queued", "running"), status="stopping"):
        workspace.log("stop", f"run {run_id}", run.name)
    return run_by_id(workspace.store, run_id)


def _call_off(workspace: Workspace, run: Run) -> None:
    """Cancel a run that waits for a worker or in the queue of an engine. A worker that starts later refuses it."""
    ended = {"status": "cancelled", "ended_at": now()}
    if not update_run(workspace.store, run.id, only_if=LIVE, owner=(run.host, None), **ended):
        update_run(workspace.store, run.id, only_if=("queued", "running"), status="stopping")  # it has just begun
    workspace.log("stop", f"run {run.id}", run.name)
    try:
        if run.handle is not None and (engine := engine_of(run)) is not None:
            engine.stop(workspace, run)
    except UserError as trouble:
        update_run(workspace.store, run.id, error=f"Its job {run.handle} was not cancelled: {trouble}")


def stop(workspace: Workspace, run_id: int, grace: float = GRACE) -> Run:
    """Ask a run to stop, kill it if it has not stopped after ``grace`` seconds, and wait until it has ended.

    Raises UserError if its host does not answer although its heart beats.
    """
    request_stop(workspace, run_id)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        run = run_by_id(workspace.store, run_id)
        if run.status in ENDED or not is_alive(run):
            break
        time.sleep(0.1)
    return kill(workspace, run_id, STALE.total_seconds())


def kill(workspace: Workspace, run_id: int, within: float = ANSWER) -> Run:
    """End the processes of a run by force. Its checkpoints and finished batches are kept.

    On another host, the run's own process does it when it sees the request. Raises UserError if it has not ended
    ``within`` seconds and its last heartbeat is recent.
    """
    workspace.store.refuse_read_only()
    run = run_by_id(workspace.store, run_id)
    error = None
    if run.status in LIVE and (run.pid is not None or run.handle is not None) and is_alive(run):
        workspace.log("kill", f"run {run_id}", run.name)
        if run.host == platform.node() and is_here(run):
            LocalLauncher().stop(workspace, run)
        else:
            error = _kill_elsewhere(workspace, run, within)
    update_run(workspace.store, run_id, only_if=LIVE, status="cancelled", ended_at=now(), error=error)
    return run_by_id(workspace.store, run_id)


def _kill_elsewhere(workspace: Workspace, run: Run, within: float) -> str | None:
    """Let the engine of a run end it, or the run's own process. Return what remains to be said.

    Raises UserError if the run goes on.
    """
    update_run(workspace.store, run.id, only_if=LIVE, kill_asked=True)
    with contextlib.suppress(UserError):  # then its own process does it
        if (engine := engine_of(run)) is not None:
            engine.stop(workspace, run)
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        run = run_by_id(workspace.store, run.id)
        if run.status in ENDED:
            return None
        if not _lives(workspace, run, ask=True):
            return _unanswered(run) if silence(run) >= STALE else None
        time.sleep(0.5)
    said, due = silence(run).total_seconds(), STALE.total_seconds()
    raise UserError(
        f"{run.host or run.launcher} does not answer. The last heartbeat of run {run.id} was {said:.0f} s ago. "
        f"Stop it again when that is {due:.0f} s ago, or kill process {run.pid} there."
    )


def _unanswered(run: Run) -> str:
    seconds = silence(run).total_seconds()
    return f"{run.host or run.launcher} has not answered for {seconds:.0f} s. What it had saved is kept."
