"""The process of one run: ``python -m orl_explorer.train.jobs.worker --workspace DIR RUN_ID``.

Spawned helper processes import this module again, so torch is imported only inside the stages.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import datetime

from orl_explorer.db.models import now
from orl_explorer.db.runs.runs import add_metrics, begin_if_first, run_by_id, update_run
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import DISK_TROUBLE, cannot_write
from orl_explorer.train.interpreter import MEETING, without_secrets
from orl_explorer.train.jobs.kinds import job_of
from orl_explorer.train.jobs.launcher import identity, reconcile, worker_command
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.workspace import Workspace, open_workspace

BEAT = 1.0  # seconds between heartbeats, and between writes of progress and metrics
GOING = 10.0  # seconds that a process may take to end after its connection closed


class RunProgress(Progress):
    """Writes progress to the store about once a second, and reads there whether to stop."""

    def __init__(self, store: Store, run_id: int) -> None:
        self._store, self._run_id = store, run_id
        self._stop = threading.Event()
        self._lock = threading.Lock()
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
        update_run(self._store, self._run_id, phase=name, progress=0, total=total)
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
        with self._lock:
            metrics, self._metrics = self._metrics, []
            done = self._done
        try:
            add_metrics(self._store, self._run_id, metrics)
        except StoreError:
            with self._lock:
                self._metrics = metrics + self._metrics
            raise
        update_run(self._store, self._run_id, progress=done, heartbeat_at=now())

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
                if run_by_id(self._store, self._run_id).status == "stopping":
                    self._stop.set()
            except StoreError as error:
                self.log(f"Heartbeat: {error}")  # the next beat tries again


def execute(workspace: Workspace, run_id: int) -> int:
    """Wait for the turn of a run, do its work, record how it ended. Return the exit code."""
    store = workspace.store
    update_run(store, run_id, heartbeat_at=now(), **identity())
    progress = RunProgress(store, run_id)
    signal.signal(signal.SIGTERM, lambda *_: progress.ask_to_stop())
    status, code, error = "failed", 1, None
    try:
        _wait_for_turn(workspace, run_id, progress)
        run = run_by_id(store, run_id)
        job = job_of(run)
        with siblings(workspace, run.id, job.together):
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
    try:
        update_run(store, run_id, status=status, exit_code=code, error=error, ended_at=now(), heartbeat_at=now())
    except StoreError as problem:  # the run will count as crashed and can be resumed
        progress.log(f"Cannot record the end of the run: {problem}")
        return 2
    return code


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
    workspace = open_workspace(arguments.workspace)
    if int(os.environ.get("RANK", "0")) > 0:  # only the first process reports
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            run = run_by_id(workspace.store, arguments.run_id)
            job_of(run).work(workspace, run.id, Progress())
        except Stopped:
            return 0
        except (UserError, StoreError) as problem:
            print(problem, flush=True)
            return 2
        return 0
    return execute(workspace, arguments.run_id)


if __name__ == "__main__":
    sys.exit(main())
