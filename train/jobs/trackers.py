"""Curves of a run in another tracker: Weights & Biases, MLflow or Trackio.

A process of its own reads the run's numbers from the store and sends them, so neither a slow nor a dead server can hold
up a training. The step up to which they were sent is kept in the run's folder: a run can be sent later, or on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import LIVE, metrics_by_step, run_by_id
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import publish
from orl_explorer.train.interpreter import module_command, without_secrets
from orl_explorer.train.jobs.job import settings_of
from orl_explorer.train.workspace import Workspace, open_to_look

Reported = Sequence[tuple[int, dict[str, float]]]  # the numbers of each step by name
TrackerName = Literal["wandb", "mlflow", "trackio"]
TRACKERS: tuple[TrackerName, ...] = get_args(TrackerName)
TITLES = {"wandb": "Weights & Biases", "mlflow": "MLflow", "trackio": "Trackio"}
INSTALLED_BY = {"wandb": "'orl-explorer[wandb]'", "mlflow": "'orl-explorer[mlflow]'", "trackio": "trackio"}
PROJECT = "orl-explorer"  # the name of the project or experiment, unless the tracker's own variables name another
SENT = "sent.json"  # in the folder of a run: by tracker, the newest step that was sent, and the tracker's id of the run
BATCH = 1000  # numbers in a request to MLflow, which takes no more
PAUSE = 2.0  # seconds between two looks for new numbers
AGAIN = 30.0  # seconds until a tracker that failed is tried again
PATIENCE = 60.0  # seconds that a run which has ended waits for its last numbers to be sent


def refuse_missing_tracker(name: str) -> None:
    """Raise UserError if a tracker is unknown or its package is not installed."""
    if name not in TRACKERS:
        raise UserError(f"There is no tracker '{name}'. Use {', '.join(TRACKERS)}.")
    if not installed(name):
        raise UserError(
            f"Sending curves to {TITLES[name]} needs the package {name}. "
            f"Install it with: pip install {INSTALLED_BY[name]}."
        )


def installed(name: str) -> bool:
    """Whether the package of a tracker is installed. A folder of that name in the current one does not count."""
    found = find_spec(name)
    return found is not None and found.origin is not None


class Tracker(Protocol):
    """A run in a tracker."""

    where: str  # its address, for people
    key: str  # by which a later process finds the run again

    def send(self, steps: Reported) -> None:
        """Send the numbers of some steps."""

    def close(self, status: str) -> None:
        """Send what is left, and say how the run ended."""


class WandB:
    """A run in Weights & Biases. Its server, project and mode come from ``wandb login`` and ``$WANDB_…``."""

    def __init__(self, workspace: Workspace, run: Run, key: str) -> None:
        import wandb

        self.key = key or f"{workspace.store.identity[:12]}-{run.id}"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=self.key,
            resume="allow",
            name=run.name,
            config=_described(run),
            tags=run.tags,
            notes=run.note,
            dir=workspace.run_folder(run.id),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )
        offline = f"{self._run.settings.sync_dir}; send it with: wandb sync {self._run.settings.sync_dir}"
        self.where = self._run.url or offline

    def send(self, steps: Reported) -> None:
        for step, numbers in steps:
            self._run.log(numbers, step=step)

    def close(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "done" else 1)


class MLflow:
    """A run in MLflow, on the server of ``$MLFLOW_TRACKING_URI``, else in ``mlflow.db`` of the workspace."""

    def __init__(self, workspace: Workspace, run: Run, key: str) -> None:
        import mlflow
        from mlflow.entities import Param

        at = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.path / 'mlflow.db'}"
        self._client = mlflow.MlflowClient(at)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self.key = key or self._client.create_run(experiment, run_name=run.name, tags=_tags(run)).info.run_id
        if not key:
            self._client.log_batch(self.key, params=[Param(*each) for each in _described(run).items()])
        self.where = f"{without_password(at)}, experiment {name}, run {self.key}"

    def send(self, steps: Reported) -> None:
        from mlflow.entities import Metric

        moment = int(time.time() * 1000)
        rows = [Metric(name, value, moment, step) for step, numbers in steps for name, value in numbers.items()]
        for start in range(0, len(rows), BATCH):
            self._client.log_batch(self.key, rows[start : start + BATCH])

    def close(self, status: str) -> None:
        self._client.set_terminated(self.key, {"done": "FINISHED", "cancelled": "KILLED"}.get(status, "FAILED"))


class Trackio:
    """A run in Trackio, on this machine or where ``$TRACKIO_…`` says."""

    def __init__(self, workspace: Workspace, run: Run, key: str) -> None:
        import trackio

        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self.key = key or f"{run.id}-{run.name}"
        self._run = trackio.init(
            project, name=self.key, config=_described(run), resume="allow", embed=False, auto_log_cpu=False
        )
        self.where = f"project {project}; see it with: trackio show --project {project}"

    def send(self, steps: Reported) -> None:
        for step, numbers in steps:
            self._run.log(numbers, step=step)

    def close(self, status: str) -> None:
        self._run.finish()


def without_password(text: str) -> str:
    """Return a text without the names and passwords that addresses in it hold, for logs."""
    return re.sub(r"//[^/\s]+@", "//", text)


OF: dict[str, Callable[[Workspace, Run, str], Tracker]] = {"wandb": WandB, "mlflow": MLflow, "trackio": Trackio}


def _described(run: Run) -> dict[str, Any]:
    """Return what a tracker shows as the settings of a run."""
    return {"run": run.id, "kind": run.kind} | settings_of(run)


def _tags(run: Run) -> dict[str, str]:
    return {"mlflow.note.content": run.note} | dict.fromkeys(run.tags, "")


# Sending ---------------------------------------------------------------------------------------------------------


def send(workspace: Workspace, run_id: int, to: str) -> tuple[int, str]:
    """Send the numbers of a run that were not sent yet. Return how many steps, and where they are.

    Raises what the tracker raises, after keeping the position.
    """
    sender = Sender(workspace, run_id, to)
    steps = sender.send_new()
    sender.close()
    return steps, sender.where


class Sender:
    """Sends the numbers of a run to one tracker, each step once."""

    def __init__(self, workspace: Workspace, run_id: int, to: str) -> None:
        self._workspace, self._run_id, self._to = workspace, run_id, to
        kept = _position(workspace, run_id).get(to, {})
        self._step = int(kept.get("step", -1))
        self._tracker = OF[to](workspace, run_by_id(workspace.store, run_id), str(kept.get("key", "")))
        self.where = self._tracker.where

    def send_new(self) -> int:
        """Send the steps that are new in the store, and return how many."""
        sent = 0
        try:
            for steps in metrics_by_step(self._workspace.store, self._run_id, self._step):
                self._tracker.send(steps)
                self._step, sent = steps[-1][0], sent + len(steps)
        finally:
            if sent:
                self._keep()
        return sent

    def close(self) -> None:
        """Say how the run ended."""
        status = run_by_id(self._workspace.store, self._run_id).status
        self._tracker.close("crashed" if status in LIVE else status)
        self._keep()

    def _keep(self) -> None:
        kept = _position(self._workspace, self._run_id)
        kept[self._to] = {"step": self._step, "key": self._tracker.key}
        path = self._workspace.run_folder(self._run_id) / SENT
        publish(lambda file: file.write(json.dumps(kept, indent=1).encode()), path)


def _position(workspace: Workspace, run_id: int) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads((workspace.run_folder(run_id) / SENT).read_text()))
    except (OSError, ValueError):
        return {}


# Following a live run ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def followed(workspace: Workspace, run: Run, log: Callable[[str], None]) -> Iterator[None]:
    """Send the numbers of a run to its tracker while the block works, and the last ones when it ends."""
    to = run.params.get("log_to")
    if not to:
        yield
        return
    command = module_command(__name__, str(workspace.path), str(run.id), to)
    sender = subprocess.Popen(command, stdin=subprocess.PIPE, env=without_secrets(os.environ))
    try:
        yield
    finally:
        assert sender.stdin is not None
        with contextlib.suppress(OSError):
            sender.stdin.close()  # it sends what is left, and ends
        try:
            sender.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            sender.kill()
            sender.wait()
            log(f"{TITLES[to]} did not answer within {PATIENCE:.0f} s. {_later(run.id, to)}")


def _later(run_id: int, to: str) -> str:
    return f"Send what is missing with `orl runs send {run_id} --to {to}`."


def follow(workspace: Workspace, run_id: int, to: str, ended: threading.Event) -> None:
    """Send numbers as they come, until the run has ended. Try again after a failure, and log it once."""
    sender, told = None, False
    while True:
        last = ended.is_set()
        try:
            if sender is None:
                sender = Sender(workspace, run_id, to)
                _say(f"Curves go to {TITLES[to]}: {sender.where}.")
            sender.send_new()
            told = False
            if last:
                sender.close()
                return
            ended.wait(PAUSE)
        except Exception as problem:  # whatever a tracker or its network raises
            if last:
                _say(f"{cannot_send(to, problem)} {_later(run_id, to)}")
                return
            if not told:
                _say(f"{cannot_send(to, problem)} The run goes on, and sending is tried again.")
            sender, told = None, True
            ended.wait(AGAIN)


def cannot_send(to: str, problem: Exception) -> str:
    """Return a sentence about a failure of a tracker."""
    reason = " ".join(without_password(str(problem)).split()).rstrip(".")
    return f"Cannot send curves to {TITLES[to]}: {reason}."


def _say(message: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {message}", flush=True)


def main() -> None:
    """Follow a run until the standard input is closed, by the run's process or by its end."""
    folder, run_id, to = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # a stop is for the run: its last numbers are still to come
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    follow(open_to_look(folder), run_id, to, ended)


if __name__ == "__main__":
    main()
