"""What a run's process gets and what is refused before there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from orl_explorer.db.models import now
from orl_explorer.db.photos import ensure_dataset
from orl_explorer.db.runs.runs import run_by_id, runs, update_run
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs import launcher, trainings
from orl_explorer.train.jobs.launcher import identity, kill, launch, request_stop, resume
from orl_explorer.train.jobs.launchers import local
from orl_explorer.train.jobs.trainings import Pretrain
from orl_explorer.train.pools import helpers
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace, open_workspace

SECRET = ("ORL_PASSWORD", "ORL_PASSWORD_FILE", "ORL_OIDC_CLIENT_ID", "ORL_OIDC_CLIENT_SECRET", "ORL_OIDC_PEOPLE")
REFUSED = r"^Cannot change the store: it was opened read-only\.$"


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen]:
    """A process of its own session, in the place of a run's."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_read_only_workspace_refuses_before_it_touches_a_process(
    workspace: Workspace, new_run: Callable[..., int], sleeping: subprocess.Popen, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, ended = new_run(workspace, "mine", "live"), new_run(workspace, "mine", "ended")
    started = psutil.Process(sleeping.pid).create_time()
    update_run(workspace.store, live, **identity() | {"pid": sleeping.pid, "pid_started_at": started}, status="running")
    update_run(workspace.store, ended, status="cancelled", ended_at=now())
    shown = open_workspace(workspace.path, read_only=True)
    before = sorted(workspace.path.rglob("*"))
    job = Pretrain(name="new", dataset_id=1, config=BYOLConfig())
    monkeypatch.setattr(os, "killpg", lambda *_: pytest.fail("a process was signalled"))
    refused: list[Callable[[], Any]] = [
        lambda: kill(shown, live),
        lambda: request_stop(shown, live),
        lambda: resume(shown, ended),
        lambda: launch(shown, job),
    ]
    for act in refused:
        with pytest.raises(StoreError, match=REFUSED):
            act()
    assert sleeping.poll() is None
    assert [run_by_id(workspace.store, run).status for run in (live, ended)] == ["running", "cancelled"]
    assert len(runs(workspace.store)) == 2
    assert [path for path in sorted(workspace.path.rglob("*")) if not path.name.startswith("orl.sqlite-")] == [
        path for path in before if not path.name.startswith("orl.sqlite-")
    ]


def test_a_run_gets_no_password_of_the_explorer(
    workspace: Workspace, new_run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRET:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("ORL_DATABASE_KEPT", "needed")
    run = run_by_id(workspace.store, new_run(workspace, "mine", "first"))
    (workspace.path / run.log_path).parent.mkdir(parents=True)
    told = "import os; print(sorted(name for name in os.environ if name.startswith('ORL_')), flush=True)"
    monkeypatch.setattr(launcher, "worker_command", lambda *_: [sys.executable, "-c", told])
    launcher._start(workspace, run)
    assert local._CHILDREN.pop(run.id).wait(20) == 0
    said = (workspace.path / run.log_path).read_text()
    assert "ORL_DATABASE_KEPT" in said
    assert [name for name in SECRET if name in said] == []


def test_helper_processes_drop_what_the_server_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRET:
        monkeypatch.setenv(name, "secret")
    with helpers(1) as pool:
        assert [pool.submit(os.getenv, name).result() for name in SECRET] == [None] * len(SECRET)
    assert os.environ["ORL_PASSWORD"] == "secret"  # the server still needs it


@pytest.mark.parametrize(("cores", "processes", "most"), [(2, 0, 64), (2, 65, 64), (96, 97, 96), (2, 10**9, 64)])
def test_a_training_on_more_processes_than_allowed_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, cores: int, processes: int, most: int
) -> None:
    dataset = ensure_dataset(workspace.store, "trip", "/photos", "folder")
    monkeypatch.setattr(trainings.os, "cpu_count", lambda: cores)
    job = Pretrain(name="new", dataset_id=dataset.id, config=BYOLConfig(), processes=processes)
    with pytest.raises(UserError) as refusal:
        launch(workspace, job)
    assert str(refusal.value) == f"Invalid value for --processes: {processes}. Use 1 to {most}."
    assert runs(workspace.store) == []
