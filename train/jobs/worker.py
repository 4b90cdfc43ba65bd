"""The process of one run: ``python -m orl_explorer.train.jobs.worker --workspace DIR RUN_ID``, or ``orl worker``.

Spawned helper processes import this module again, so torch is imported only inside the stages.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import datetime

from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import (
    ENDED,
    LIVE,
    add_metrics,
    begin_if_first,
    run_by_id,
    take_run,
    update_run,
)
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import DISK_TROUBLE, cannot_write
from orl_explorer.train.interpreter import MEETING, without_secrets
from orl_explorer.train.jobs.kinds import job_of
from orl_explorer.train.jobs.launcher import identity, reconcile, worker_command
from orl_explorer.train.jobs.launchers.local import end_these_processes
from orl_explorer.train.jobs.trackers import followed
from orl_explorer.train.pools import HelperLost
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.provenance import begin_attempt
from orl_explorer.train.workspace import Workspace, open_workspace

BEAT = 1.0  # seconds between heartbeats, and between writes of progress and metrics
GOING = 10.0  # seconds that a process may take to end after its connection closed


class RunProgress(Progress):
    """Writes progress to the store about once a second, and reads there whether to stop.

    A process whose run was ended or resumed elsewhere, because its heart was silent, ends at once and changes nothing.
    """

    def __init__(self, store: Store, run_id: int) -> None:
        self._store, self._run_id = store, run_id
        self._owner = platform.node(), os.getpid()
        self._stop = threading.Event()
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._done = 0
        self._metrics: list[tuple[int, str, float]] = []
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def ask_to_stop(self) -> None:
        """Stop at the next safe point."""
        self._stop.set()

    def phase(self, name: str, total: int) -> None:
        self.flush()
        self._done = 0
        update_run(self._store, self._run_id, owner=self._owner, phase=name, progress=0, total=total)
        self.log(f"{name} ({total}).")
        self.check()

    def advance(self, count: int = 1) -> None:
        with self._lock:
            self._done += count
        self.check()

    def log(self, message: str) -> None:
        with contextlib.suppress(OSError):  # the store's row is still updated if the disk is full
            print(f"{datetime.now():%H:%M:%S}  {message}", flush=True)

    def metric(self, step: int, values: dict[str, float]) -> None:
        with self._lock:
            self._metrics.extend((step, name, value) for name, value in values.items())

    def check(self) -> None:
        """Raise Stopped if the run was asked to stop."""
        if self._stop.is_set():
            raise Stopped

    def flush(self) -> None:
        """Write the metrics and the progress since the last flush."""
        with self._flushing:  # in order: rows of a step replace those of later steps
            with self._lock:
                metrics, self._metrics = self._metrics, []
                done = self._done
            try:
                add_metrics(self._store, self._run_id, metrics)
            except StoreError:
                with self._lock:
                    self._metrics = metrics + self._metrics
                raise
        update_run(self._store, self._run_id, owner=self._owner, progress=done, heartbeat_at=now())

    def close(self) -> None:
        """Stop the heartbeat and write the last numbers, if the store can be written."""
        self._over.set()
        self._heart.join()
        with contextlib.suppress(StoreError):  # recording how the run ended matters more
            self.flush()

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            try:
                self.flush()
                self._obey(run_by_id(self._store, self._run_id))
            except StoreError as error:
                self.log(f"Heartbeat: {error}")  # the next beat tries again

    def _obey(self, run: Run) -> None:
        if (run.host, run.pid) != self._owner or run.status in ENDED:
            self.log(f"Run {run.id} was ended elsewhere ({run.status}). This process ends.")
            end_these_processes()
        if run.kill_asked:
            self.log("Killed, as asked from another machine.")
            ended = {"status": "cancelled", "ended_at": now()}
            update_run(self._store, run.id, only_if=LIVE, owner=self._owner, **ended)
            end_these_processes()
        if run.status == "stopping":
            self._stop.set()


def work(workspace: Workspace, run_id: int) -> int:
    """Be a process of a run: its first one, or under ``torchrun`` one that helps. Return the exit code.

    Raises UserError or StoreError if the run has ended, or if another process works on it.
    """
    rank = int(os.environ.get("RANK", "0"))
    if rank > 0 and MEETING in os.environ:  # its first process has begun and started this one
        return _help(workspace, run_id)
    run = run_by_id(workspace.store, run_id)
    if run.status in ENDED:
        raise UserError(f"Run {run_id} has ended ({run.status}). {_how_on(run)}")
    if rank == 0:
        _take(workspace, run_id)
    _write_into_log(workspace, run, rank)
    if rank == 0:
        return execute(workspace, run_id)
    while (run := run_by_id(workspace.store, run_id)).status == "queued":  # the first process waits for its turn
        time.sleep(0.2)
    if run.status in ENDED:
        print(f"Run {run_id} has ended ({run.status}).", flush=True)
        return 2
    return _help(workspace, run_id)


def _how_on(run: Run) -> str:
    return "Start a new run." if run.status == "done" else f"Resume it first with `orl runs resume {run.id}`."


def _take(workspace: Workspace, run_id: int) -> None:
    """Note this process in a run's row. Raises UserError if another process works on it, or worked."""
    itself = identity()
    host, pid = itself.pop("host"), itself.pop("pid")
    if take_run(workspace.store, run_id, (host, pid), heartbeat_at=now(), **itself):
        return
    reconcile(workspace)
    run = run_by_id(workspace.store, run_id)
    if run.status in ENDED:
        raise UserError(f"Run {run_id} has ended ({run.status}). {_how_on(run)}")
    raise UserError(f"Process {run.pid} on {run.host} works on run {run_id} already. Stop it first, or wait.")


def _write_into_log(workspace: Workspace, run: Run, rank: int) -> None:
    """Send the output of this process to the run's log, or to one beside it: machines cannot share a file safely."""
    log = workspace.path / run.log_path
    if rank:
        log = log.with_name(f"log-{rank}.txt")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        if os.path.samestat(os.fstat(1), os.fstat(file.fileno())):
            return
        print(f"This process works on run {run.id}. Its output is in {log}.", flush=True)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _help(workspace: Workspace, run_id: int) -> int:
    """Do the part of a process that is not the first. It ends when the first one stops."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    try:
        job_of(run_by_id(workspace.store, run_id)).work(workspace, run_id, Progress())
    except Stopped:
        return 0
    except (UserError, StoreError) as problem:
        print(problem, flush=True)
        return 2
    return 0


def _note_processes(workspace: Workspace, run: Run, together: int, progress: RunProgress) -> None:
    """Record how many processes work, for the next attempt. torchrun may have started another number than asked."""
    size = int(os.environ.get("WORLD_SIZE", together))
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    if size != run.processes:
        progress.log(f"Number of processes: {size}, where the run was queued for {run.processes}.")
    update_run(workspace.store, run.id, processes=size, nodes=nodes)


def execute(workspace: Workspace, run_id: int) -> int:
    """Wait for the turn of a run, do its work, record how it ended. Return the exit code."""
    _take(workspace, run_id)
    progress = RunProgress(workspace.store, run_id)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: progress.ask_to_stop())
    with followed(workspace, run_by_id(workspace.store, run_id), progress.log):
        return _do(workspace, run_id, progress)


def _do(workspace: Workspace, run_id: int, progress: RunProgress) -> int:
    store = workspace.store
    status, code, error = "failed", 1, None
    try:
        _wait_for_turn(workspace, run_id, progress)
        run = run_by_id(store, run_id)
        job = job_of(run)
        _note_processes(workspace, run, job.together, progress)
        begin_attempt(workspace, run)
        with siblings(workspace, run.id, job.together), _stopped_rather_than_lost(progress):
            job.work(workspace, run_id, progress)
        status, code = "done", 0
    except Stopped:
        progress.log(f"Stopped. Resume the run with `orl runs resume {run_id}`.")
        status, code = "cancelled", 0
    except (UserError, StoreError) as problem:
        progress.log(str(problem))
        code, error = 2, str(problem)
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno in DISK_TROUBLE:
            code, error = 2, cannot_write(problem.filename or workspace.path, problem)
            progress.log(error)
        else:
            traceback.print_exc()
            error = f"{type(problem).__name__}: {problem}"
    progress.close()
    owner, ended = (platform.node(), os.getpid()), {"exit_code": code, "ended_at": now(), "heartbeat_at": now()}
    try:
        if not update_run(store, run_id, only_if=LIVE, owner=owner, status=status, error=error, **ended):
            progress.log(f"Run {run_id} was ended elsewhere.")
            return 2
    except StoreError as problem:  # the run will count as crashed and can be resumed
        progress.log(f"Cannot record the end of the run: {problem}")
        return 2
    return code


@contextlib.contextmanager
def _stopped_rather_than_lost(progress: RunProgress) -> Iterator[None]:
    """Raise Stopped for a helper process that was lost after a stop was asked for.

    A signal to the whole group ends a helper that has not yet begun to ignore it, which is no lack of memory.
    """
    try:
        yield
    except HelperLost:
        progress.check()
        raise


@contextlib.contextmanager
def siblings(workspace: Workspace, run_id: int, count: int) -> Iterator[None]:
    """Start the other processes of a training in this process group, with the ranks that ``torchrun`` sets.

    They meet at a file: another program could take a free port before they do.

    Does nothing for a single process, or under ``torchrun``, which has started them.
    """
    if count == 1 or "RANK" in os.environ:
        yield
        return
    cores = max(1, (os.cpu_count() or 1) // count)
    with tempfile.TemporaryDirectory(prefix="orl-", ignore_cleanup_errors=True) as folder:
        meeting = {MEETING: f"file://{folder}/meeting", "WORLD_SIZE": str(count)}
        meeting |= {"LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": str(cores)}
        command = worker_command(workspace, run_id)
        others = [
            subprocess.Popen(
                command, env=without_secrets(os.environ) | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            )
            for rank in range(1, count)
        ]
        os.environ.update(meeting, RANK="0", LOCAL_RANK="0")
        try:
            yield
            for process in others:
                process.wait()
        except RuntimeError as error:  # raised by torch.distributed when another process has ended
            for process in others:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GOING)
            if gone := [process for process in others if process.returncode]:
                raise UserError(
                    f"{len(gone)} of the {count} processes of this training ended early. See the log for the reason."
                ) from error
            raise
        finally:
            for process in others:
                process.kill()
                process.wait()


def _wait_for_turn(workspace: Workspace, run_id: int, progress: RunProgress) -> None:
    told = False
    while not begin_if_first(workspace.store, run_id):
        progress.check()
        if not told:
            progress.log("Waiting for the runs before this one.")
            told = True
        time.sleep(0.5)
        reconcile(workspace)


def main() -> int:
    """Run the process of one run, or one of its helper processes."""
    parser = argparse.ArgumentParser(description="Do the work of one run.")
    parser.add_argument("--workspace", required=True)
    parser.add_argument("run_id", type=int)
    arguments = parser.parse_args()
    try:
        return work(open_workspace(arguments.workspace), arguments.run_id)
    except (UserError, StoreError) as problem:
        print(problem, flush=True)
        return 2


if __name__ == "__main__":
    sys.exit(main())
