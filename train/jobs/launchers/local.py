"""Runs as processes of this machine, each in a session of its own."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import time
from collections.abc import Sequence

import psutil

from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import update_run
from orl_explorer.train.jobs.launchers.base import environment
from orl_explorer.train.workspace import Workspace

ENDING = 3.0  # seconds that the processes of a run have to end after a signal

# Handles of the processes started here. A dropped handle leaves a zombie until the next process starts.
_CHILDREN: dict[int, subprocess.Popen] = {}


class LocalLauncher:
    """Starts a run as a process of this machine. Its handle is its pid."""

    def start(self, workspace: Workspace, run: Run, command: Sequence[str]) -> str:
        """Start the process, and note it in the run's row. The run's log gets its output."""
        with (workspace.path / run.log_path).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment(),
            )
        started = psutil.Process(process.pid).create_time()
        here = platform.node()
        update_run(workspace.store, run.id, host=here, pid=process.pid, pid_started_at=started, heartbeat_at=now())
        _CHILDREN[run.id] = process
        return str(process.pid)

    def alive(self, workspace: Workspace, run: Run) -> bool:
        """Whether the process exists."""
        return is_here(run)

    def stop(self, workspace: Workspace, run: Run) -> None:
        """Ask all processes of the run to end, and kill them if they do not."""
        if run.pid is None or not is_here(run):
            return
        for what in (signal.SIGTERM, signal.SIGKILL):
            _send(what, run.pid)
            deadline = time.monotonic() + ENDING
            while time.monotonic() < deadline:
                if not is_here(run):
                    return
                time.sleep(0.05)


def _send(what: signal.Signals, pid: int) -> None:
    """Signal the group that a run leads, so that its workers get it too. One that a script started leads none."""
    for send in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            send(pid, what)
            return


def is_here(run: Run) -> bool:
    """Whether a run's process exists on this machine: same pid, same start time."""
    if run.pid is None or run.pid_started_at is None:
        return False
    try:
        process = psutil.Process(run.pid)
        same = abs(process.create_time() - run.pid_started_at) < 1 or _works_on(process, run)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _works_on(process: psutil.Process, run: Run) -> bool:
    """Whether a process is a run's by its command. Its start time, counted from now, moves if the clock is set."""
    command = process.cmdline()
    return str(run.id) in command and any(word == "worker" or word.endswith(".worker") for word in command)


def end_these_processes() -> None:
    """Kill this process and all that it has started."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
