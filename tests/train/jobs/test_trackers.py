"""Curves of a run in other trackers: what is sent, how often, and what a failure costs."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import add_metrics, add_run, metrics_by_step, update_run
from orl_explorer.train.jobs import trackers
from orl_explorer.train.jobs.trackers import Reported, follow, followed, send, without_password
from orl_explorer.train.workspace import Workspace
from tests import shell


class Recorder:
    """A tracker that keeps what it is sent, and fails as often as it is told to."""

    sent: list[tuple[int, dict[str, float]]]
    ended: list[str]
    failures: int

    def __init__(self, workspace: Workspace, run: Run, key: str) -> None:
        self.where, self.key = "here", key or f"key of {run.name}"

    def send(self, steps: Reported) -> None:
        if Recorder.failures:
            Recorder.failures -= 1
            raise ConnectionError("no answer from http://me:secret@host:9/api")
        Recorder.sent += steps

    def close(self, status: str) -> None:
        Recorder.ended.append(status)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    Recorder.sent, Recorder.ended, Recorder.failures = [], [], 0
    monkeypatch.setitem(trackers.OF, "wandb", Recorder)
    monkeypatch.setattr(trackers, "refuse_missing_tracker", lambda _: None)
    monkeypatch.setattr(trackers, "PAUSE", 0.01)
    monkeypatch.setattr(trackers, "AGAIN", 0.01)
    return Recorder


def a_run(workspace: Workspace, **params: object) -> Run:
    settings = {"log_to": "wandb", "config": {"epochs": 3, "seed": 0}}
    run = add_run(
        workspace.store, Run(kind="pretrain", name="trained", params=settings | params, tags=["paper"], note="n")
    )
    (workspace.path / run.log_path).parent.mkdir(parents=True)
    add_metrics(workspace.store, run.id, [(s, name, s / 2) for s in (1, 2, 4) for name in ("loss", "learning_rate")])
    return run


def test_numbers_come_by_step_in_windows(workspace: Workspace) -> None:
    run = a_run(workspace)
    at = [(step, {"learning_rate": step / 2, "loss": step / 2}) for step in (1, 2, 4)]
    assert list(metrics_by_step(workspace.store, run.id)) == [at]
    assert list(metrics_by_step(workspace.store, run.id, after=1)) == [at[1:]]
    assert list(metrics_by_step(workspace.store, run.id, window=3)) == [at[:2], at[2:]]
    assert list(metrics_by_step(workspace.store, run.id, after=4)) == []
    assert list(metrics_by_step(workspace.store, 99)) == []


def test_each_step_is_sent_once(workspace: Workspace, recorder: type[Recorder]) -> None:
    run = a_run(workspace)
    assert send(workspace, run.id, "wandb") == (3, "here")
    assert [step for step, _ in recorder.sent] == [1, 2, 4]
    add_metrics(workspace.store, run.id, [(5, "loss", 0.5)])
    update_run(workspace.store, run.id, status="done")
    assert send(workspace, run.id, "wandb") == (1, "here")
    assert recorder.sent[3:] == [(5, {"loss": 0.5})]
    assert recorder.ended == ["crashed", "done"]  # the first time, nobody worked on it
    kept = json.loads((workspace.run_folder(run.id) / "sent.json").read_text())
    assert kept == {"wandb": {"step": 5, "key": "key of trained"}}


def test_a_failure_is_told_once_and_sending_is_tried_again(
    workspace: Workspace, recorder: type[Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    run, ended = a_run(workspace), threading.Event()
    recorder.failures = 3
    following = threading.Thread(target=follow, args=(workspace, run.id, "wandb", ended))
    following.start()
    while len(recorder.sent) < 3:
        ended.wait(0.01)
    add_metrics(workspace.store, run.id, [(6, "loss", 1.0)])
    update_run(workspace.store, run.id, status="done")
    ended.set()
    following.join()
    assert [step for step, _ in recorder.sent] == [1, 2, 4, 6]
    assert recorder.ended == ["done"]
    said = capsys.readouterr().out
    failure = "Cannot send curves to Weights & Biases: no answer from http://host:9/api. The run goes on"
    assert said.count(failure) == said.count("Cannot send") == 1


def test_what_could_not_be_sent_at_the_end_is_said_with_the_command(
    workspace: Workspace, recorder: type[Recorder], capsys: pytest.CaptureFixture[str]
) -> None:
    run, ended = a_run(workspace), threading.Event()
    recorder.failures = 9
    ended.set()
    follow(workspace, run.id, "wandb", ended)
    assert f"Send what is missing with `orl runs send {run.id} --to wandb`." in capsys.readouterr().out


STAND_IN = """
import os, sys
def init(project, name, config, resume, embed, auto_log_cpu):
    return Run(name, config)
class Run:
    def __init__(self, name, config):
        self.said(f"begin {name} {config['epochs']}")
    def said(self, line):
        with open(os.environ["SAID"], "a") as file:
            file.write(line + "\\n")
    def log(self, numbers, step):
        self.said(f"{step} {numbers['loss']:g}")
    def finish(self):
        self.said("end")
        if os.environ.get("HANGS"):
            import time
            time.sleep(60)
"""


@pytest.mark.parametrize("hangs", [False, True])
def test_a_process_of_its_own_sends_while_a_run_works(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    (tmp_path / "trackio.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    monkeypatch.setenv("SAID", str(tmp_path / "said.txt"))
    if hangs:
        monkeypatch.setenv("HANGS", "1")
        monkeypatch.setattr(trackers, "PATIENCE", 15.0)
    run, lines = a_run(workspace, log_to="trackio"), list[str]()
    with followed(workspace, run, lines.append):
        add_metrics(workspace.store, run.id, [(6, "loss", 7.0)])
        update_run(workspace.store, run.id, status="done")
    said = (tmp_path / "said.txt").read_text().splitlines()
    assert said == [f"begin {run.id}-trained 3", "1 0.5", "2 1", "4 2", "6 7", "end"]
    later = f"Trackio did not answer within 15 s. Send what is missing with `orl runs send {run.id} --to trackio`."
    assert lines == ([later] if hangs else [])


def test_mlflow_gets_settings_once_and_at_most_a_thousand_numbers_at_a_time(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, object]] = []

    class Client:
        def __init__(self, uri: str) -> None:
            calls.append(("at", uri))

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str) -> str:
            return f"id of {name}"

        def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> SimpleNamespace:
            calls.append(("run", (experiment, run_name, tags)))
            return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

        def log_batch(self, run: str, metrics: object = (), params: object = ()) -> None:
            calls.append((run, [*metrics, *params]))  # type: ignore[misc]

        def set_terminated(self, run: str, status: str) -> None:
            calls.append((run, status))

    mlflow, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    mlflow.MlflowClient = Client  # type: ignore[attr-defined]
    entities.Metric = lambda name, value, moment, step: (name, value, step)  # type: ignore[attr-defined]
    entities.Param = lambda name, value: (name, value)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setattr(trackers, "BATCH", 4)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = a_run(workspace, log_to="mlflow")
    update_run(workspace.store, run.id, status="cancelled")
    send(workspace, run.id, "mlflow")
    at = f"sqlite:///{workspace.path / 'mlflow.db'}"
    assert calls[:2] == [
        ("at", at),
        ("run", ("id of orl-explorer", "trained", {"mlflow.note.content": "n", "paper": ""})),
    ]
    settings = [("run", run.id), ("kind", "pretrain"), ("log_to", "mlflow"), ("epochs", 3), ("seed", 0)]
    one, two, three = ([("learning_rate", v, s), ("loss", v, s)] for s, v in ((1, 0.5), (2, 1.0), (4, 2.0)))
    assert calls[2:] == [("r1", settings), ("r1", one + two), ("r1", three), ("r1", "KILLED")]
    send(workspace, run.id, "mlflow")
    assert calls[6:] == [("at", at), ("r1", "KILLED")]


def test_passwords_in_addresses_stay_out_of_logs() -> None:
    assert without_password("https://me:se@cret@host:5000/a") == "https://host:5000/a"
    assert without_password("mail me@host") == "mail me@host"


def test_a_tracker_that_is_not_installed_is_refused_before_the_run(
    photographed: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()  # what an earlier run of it has left here
    monkeypatch.syspath_prepend(tmp_path)
    where = ("--workspace", photographed.path)
    missing = "Sending curves to Weights & Biases needs the package wandb. "
    missing += "Install it with: pip install 'orl-explorer[wandb]'."
    asked = ("--preset", "small", "--set", "batch_size=4")
    assert missing in shell.refused("pretrain", "--dataset", "demo", *asked, "--log", "wandb", *where)
    run = a_run(photographed)
    assert missing in shell.refused("runs", "send", str(run.id), "--to", "wandb", *where)
