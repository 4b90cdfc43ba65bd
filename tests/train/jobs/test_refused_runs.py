"""What a run's process gets and what is refused before there is one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orl_explorer.db.models import now
from orl_explorer.db.runs.runs import run_by_id, runs, update_run
from orl_explorer.db.store import StoreError
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.launcher import identity, kill, launch, request_stop, resume
from orl_explorer.train.jobs.trainings import Pretrain
from orl_explorer.train.training.config import BYOLConfig
from orl_explorer.train.workspace import Workspace, open_workspace

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
    started = launcher.psutil.Process(sleeping.pid).create_time()
    update_run(workspace.store, live, **identity() | {"pid": sleeping.pid, "pid_started_at": started}, status="running")
    update_run(workspace.store, ended, status="cancelled", ended_at=now())
    shown = open_workspace(workspace.path, read_only=True)
    before = sorted(workspace.path.rglob("*"))
    job = Pretrain(name="new", dataset_id=1, config=BYOLConfig())
    monkeypatch.setattr(launcher.os, "killpg", lambda *_: pytest.fail("a process was signalled"))
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
