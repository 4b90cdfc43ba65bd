"""Launching, watching, stopping and resuming runs. A run is a process; its row in the store holds its state.

This module does not import torch, so the explorer can start runs and stay light.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import ENDED, LIVE, add_run, find_run, run_by_id, runs, update_run
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import module_command, without_secrets
from orl_explorer.train.jobs.job import Job
from orl_explorer.train.jobs.kinds import job_of
from orl_explorer.train.run_folders import new_folder, own_folder
from orl_explorer.train.workspace import Workspace

GRACE = 30.0  # seconds between the request to stop a run and its kill
# Waiting threads should sleep soon: a spinning thread occupies a core that the explorer or another run needs. They
# should not sleep at once: the next operation of a network follows within microseconds, and waking a thread takes as
# long as a small operation.
PATIENT = {"GOMP_SPINCOUNT": "3000"}
# glibc keeps freed memory, because the next step needs it again. Pages that were returned to the system would have to
# be cleared first, which takes up to a fifth of a training step.
RETENTIVE = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
_WORKER = "orl_explorer.train.jobs.worker"
STALE = timedelta(seconds=60)  # without a heartbeat, a run on another host counts as crashed


def launch(workspace: Workspace, job: Job, brings: Mapping[str, Path] | None = None) -> Run:
    """Queue a run that does a job, and start its process. Raises UserError or StoreError if the job cannot run.

    brings: files to move into the run's folder, by their names there. If the job's kind joins and a live run does the
    same work, that run is returned instead.
    """
    workspace.store.refuse_read_only()
    job = job.named(workspace)
    job.check(workspace)
    if job.joins:
        reconcile(workspace)
        if (doing := run_doing(workspace, job)) is not None:
            return doing
    run = add_run(workspace.store, job.row(workspace))
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


def resume(workspace: Workspace, run_id: int) -> Run:
    """Queue an ended run again. It continues from its checkpoints. Raises UserError if it cannot be resumed."""
    workspace.store.refuse_read_only()
    reconcile(workspace)
    run = run_by_id(workspace.store, run_id)
    if run.status == "done":
        raise UserError(f"Run {run_id} is done. There is nothing to resume.")
    if run.status in ENDED:
        own_folder(workspace, run_id)
    queued: dict[str, Any] = {"status": "queued", "pid": None, "ended_at": None, "exit_code": None, "error": None}
    queued["heartbeat_at"] = now()  # else it counts as crashed until its process starts
    if not update_run(workspace.store, run_id, only_if=ENDED, **queued):
        raise UserError(f"Run {run_id} is {run.status}. Only a run that has ended can be resumed.")
    workspace.log("resume", f"run {run_id}", run.name)
    return _start(workspace, run_by_id(workspace.store, run_id))


def request_stop(workspace: Workspace, run_id: int) -> Run:
    """Ask a run to stop at its next safe point. A queued run never starts."""
    workspace.store.refuse_read_only()
    reconcile(workspace)
    run = run_by_id(workspace.store, run_id)
    if run.status in ENDED:
        raise UserError(f"Run {run_id} has already ended ({run.status}).")
    if update_run(workspace.store, run_id, only_if=("queued", "running"), status="stopping"):
        workspace.log("stop", f"run {run_id}", run.name)
    return run_by_id(workspace.store, run_id)


def stop(workspace: Workspace, run_id: int, grace: float = GRACE) -> Run:
    """Ask a run to stop, and kill it if it has not stopped after ``grace`` seconds."""
    request_stop(workspace, run_id)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline:
        run = run_by_id(workspace.store, run_id)
        if run.status in ENDED or not is_alive(run):
            break
        time.sleep(0.1)
    return kill(workspace, run_id)


def kill(workspace: Workspace, run_id: int) -> Run:
    """Kill the processes of a run. Its checkpoints and finished batches are kept."""
    workspace.store.refuse_read_only()
    run = run_by_id(workspace.store, run_id)
    if run.host and run.host != platform.node() and is_alive(run):
        raise UserError(f"Run {run_id} runs on {run.host}. Stop it there.")
    if run.pid and is_alive(run):
        workspace.log("kill", f"run {run_id}", run.name)
        _signal_group(run.pid, signal.SIGTERM)
        if not _gone(run, within=3):
            _signal_group(run.pid, signal.SIGKILL)
            _gone(run, within=3)
    update_run(workspace.store, run_id, only_if=LIVE, status="cancelled", ended_at=now())
    return run_by_id(workspace.store, run_id)


def reconcile(workspace: Workspace) -> list[int]:
    """Mark runs whose process is gone as crashed, or as cancelled if they were stopping. Return their ids."""
    gone = []
    for run in runs(workspace.store, LIVE):
        if not is_alive(run):
            status = "cancelled" if run.status == "stopping" else "crashed"
            error = None if status == "cancelled" else "Its process ended unexpectedly."
            if update_run(workspace.store, run.id, only_if=(run.status,), status=status, ended_at=now(), error=error):
                gone.append(run.id)
    return gone


def is_alive(run: Run) -> bool:
    """Whether a run's process exists: same pid, same start time. On another host, whether its heartbeat is recent."""
    if run.pid is None or run.pid_started_at is None:
        return now() - (run.heartbeat_at or run.created_at) < timedelta(seconds=10)  # about to be started
    if run.host != platform.node():
        return now() - (run.heartbeat_at or run.created_at) < STALE
    try:
        process = psutil.Process(run.pid)
        same = abs(process.create_time() - run.pid_started_at) < 1 or _works_on(process, run)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _works_on(process: psutil.Process, run: Run) -> bool:
    """Whether a process is a run's by its command. Its start time, counted from now, moves if the clock is set."""
    command = process.cmdline()
    return command[-1:] == [str(run.id)] and _WORKER in command


def identity() -> dict[str, Any]:
    """Return host, pid and start time of this process, for a run's row."""
    return {"host": platform.node(), "pid": os.getpid(), "pid_started_at": psutil.Process().create_time()}


def read_log(workspace: Workspace, run: Run, last_bytes: int = 16_384) -> str:
    """Return the end of a run's log."""
    path = workspace.path / run.log_path
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - last_bytes))
        return file.read().decode(errors="replace")


def worker_command(workspace: Workspace, run_id: int) -> list[str]:
    """Return the command line of a run's process."""
    return module_command(_WORKER, "--workspace", str(workspace.path), str(run_id))


def _start(workspace: Workspace, run: Run) -> Run:
    with (workspace.path / run.log_path).open("ab") as log:
        process = subprocess.Popen(
            worker_command(workspace, run.id),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=PATIENT | RETENTIVE | without_secrets(os.environ),
        )
    started = psutil.Process(process.pid).create_time()
    update_run(
        workspace.store, run.id, host=platform.node(), pid=process.pid, pid_started_at=started, heartbeat_at=now()
    )
    _CHILDREN[run.id] = process
    return run_by_id(workspace.store, run.id)


# Handles of the processes started here. A dropped handle leaves a zombie until the next process starts.
_CHILDREN: dict[int, subprocess.Popen] = {}


def _signal_group(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, what)  # the run leads its own session, so its workers are in its group


def _gone(run: Run, within: float) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not is_alive(run):
            return True
        time.sleep(0.05)
    return False


def wait(workspace: Workspace, run_id: int, every: float = 0.2) -> Run:
    """Block until a run has ended."""
    while True:
        run = find_run(workspace.store, run_id)
        if run is None or run.status in ENDED:
            return run_by_id(workspace.store, run_id)
        if not is_alive(run):
            reconcile(workspace)
        time.sleep(every)
