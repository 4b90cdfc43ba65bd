"""Runs as processes: queued, stopped, killed, crashed and resumed, with the right state in the store."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from PIL import Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import LIVE, add_run, metrics, run_by_id, runs, update_run
from orl_explorer.db.sets.read import find_set
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs import launcher, worker
from orl_explorer.train.jobs.launcher import (
    identity,
    is_alive,
    kill,
    read_log,
    reconcile,
    request_stop,
    resume,
    stop,
    wait,
    worker_command,
)
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.pools import HelperLost
from orl_explorer.train.run_folders import new_folder
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.workspace import Workspace
from tests.named import launch_mine, launch_pretrain, launch_train, pretrain
from tests.waiting import until

pytestmark = pytest.mark.slow

LONG = 300  # epochs that nobody waits for


@pytest.fixture
def place(photographed: Workspace) -> Iterator[Workspace]:
    """A workspace with photos. Live runs are killed at the end."""
    yield photographed
    for run in runs(photographed.store, LIVE):
        kill(photographed, run.id)


def status(workspace: Workspace, run: Run) -> str:
    return run_by_id(workspace.store, run.id).status


def hard_kill(workspace: Workspace, run: Run) -> None:
    """Kill the process and its loaders with SIGKILL, as a power cut or the out-of-memory killer would."""
    pid = run_by_id(workspace.store, run.id).pid
    assert pid is not None
    os.killpg(pid, signal.SIGKILL)
    until(lambda: not is_alive(run_by_id(workspace.store, run.id)))


def test_a_run_that_is_killed_at_some_step_is_lost_and_resumed_ends_in_the_same_weights(
    place: Workspace, tiny_byol: BYOLConfig, new_run: Callable
) -> None:
    config = tiny_byol.model_copy(update={"epochs": 4, "checkpoint_every": 2})
    whole = pretrain(place, "demo", "whole", config, run_id=new_run(place, "pretrain", "whole")).weights_sha256
    update_run(place.store, 1, status="done")

    run = launch_pretrain(place, "demo", config, "killed")
    until(lambda: list(place.run_folder(run.id).glob("checkpoint-*.pt")))
    hard_kill(place, run)
    assert status(place, run) == "running"  # nobody could say anything any more
    assert reconcile(place) == [run.id]
    lost = run_by_id(place.store, run.id)
    assert (lost.status, lost.error) == ("crashed", "Its process ended unexpectedly.")
    assert reconcile(place) == []

    done = wait(place, resume(place, run.id).id)
    assert (done.status, done.exit_code, done.error) == ("done", 0, None)
    log = read_log(place, done)
    assert "Resumed at step " in log
    assert (done.phase, done.progress, done.total) == ("Training", 8, 8)
    assert encoder_named(place.store, "killed").weights_sha256 == whole
    steps = [step for step, name, _ in metrics(place.store, run.id) if name == "loss"]
    assert steps == sorted(set(steps))
    with pytest.raises(UserError, match=f"Run {run.id} is done. There is nothing to resume"):
        resume(place, run.id)


def test_runs_wait_for_their_turn_and_stop_when_asked(place: Workspace, tiny_byol: BYOLConfig) -> None:
    # With no checkpoint due before the end, the one that a stop leaves is the only one.
    config = tiny_byol.model_copy(update={"epochs": LONG, "checkpoint_every": LONG})
    first = launch_pretrain(place, "demo", config)
    until(lambda: run_by_id(place.store, first.id).progress > 0)
    second, third = launch_pretrain(place, "demo", config), launch_pretrain(place, "demo", config, "third")
    assert (first.name, second.name) == ("demo-byol", "demo-byol-2")
    until(lambda: "Waiting for the runs before this one." in read_log(place, second))
    assert status(place, second) == "queued"
    with pytest.raises(UserError, match=f"Run {first.id} is running. Only a run that has ended can be resumed"):
        resume(place, first.id)

    stop(place, third.id)  # it never began
    assert status(place, third) == "cancelled"
    assert run_by_id(place.store, third.id).started_at is None

    request_stop(place, first.id)
    ended = wait(place, first.id)
    assert (ended.status, ended.exit_code) == ("cancelled", 0)
    assert f"Stopped. Resume the run with `orl runs resume {ended.id}`." in read_log(place, ended)
    assert len(list(place.run_folder(first.id).glob("checkpoint-*.pt"))) == 1
    until(lambda: status(place, second) == "running")
    hard_kill(place, second)
    with pytest.raises(UserError, match=rf"Run {second.id} has already ended \(crashed\)"):
        stop(place, second.id)


def test_mining_and_training_run_one_after_the_other(
    ready: Workspace, tiny_mine: MineConfig, tiny_orl: ORLConfig
) -> None:
    mining = launch_mine(ready, "demo", "starter", "set", tiny_mine, workers=1)
    with pytest.raises(UserError, match="The correspondence set 'set' already exists"):
        launch_mine(ready, "demo", "starter", "set", tiny_mine)
    done = wait(ready, mining.id)
    assert (done.status, done.error) == ("done", None)
    mined = find_set(ready.store, "set")
    assert mined is not None
    assert (mined.status, mined.run_id) == ("complete", mining.id)
    assert "Proposals computed: 12, reused: 0." in read_log(ready, done)
    config = ready.run_folder(mining.id) / "config.json"
    assert '"encoder": "starter"' in config.read_text()

    trained = wait(ready, launch_train(ready, "set", tiny_orl.model_copy(update={"epochs": 1, "batch_size": 12})).id)
    assert (trained.status, trained.correspondence_set_id) == ("done", mined.id)
    encoder = encoder_named(ready.store, "set-orl")
    assert (encoder.kind, encoder.run_id) == ("stage3", trained.id)


@pytest.fixture(params=["compiled", "by OpenCV"])
def searching(
    request: pytest.FixtureRequest,
    ready: Workspace,
    small_scenes: Path,
    tmp_path: Path,
    tiny_mine: MineConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """Start a mining run whose selective search takes a while, in threads or in processes."""
    compiled = request.param == "compiled"
    if compiled:
        request.getfixturevalue("compiled_search")
    else:
        (tmp_path / "hiding").mkdir()
        (tmp_path / "hiding/numba.py").write_text("raise ImportError('hidden')")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hiding'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    folder = tmp_path / "large"
    folder.mkdir()
    for path in sorted(small_scenes.iterdir())[: 12 if compiled else 6]:
        with Image.open(path) as photo:
            by, copies = (4, 5) if compiled else (8, 1)  # a stop waits for the photos that threads are searching
            for copy in range(copies):
                photo.resize((photo.width * by, photo.height * by)).save(folder / f"{copy}-{path.name}", quality=92)
    ingest(ready, folder, name="large")
    config = tiny_mine.model_copy(update={"proposal_scale": 1.0})
    run = launch_mine(ready, "large", "starter", "large", config, workers=2)
    until(lambda: run_by_id(ready.store, run.id).phase == "Running selective search")
    process = psutil.Process(run.pid)
    if compiled:
        time.sleep(1)
        assert process.children() == []
    else:
        until(lambda: sum(p.cpu_times().user > 2 for p in process.children()) == 2)  # both are in the midst of a photo
    yield run
    if status(ready, run) in LIVE:
        kill(ready, run.id)


def assert_cancelled_with_all_its_processes(workspace: Workspace, run: Run, group: list[psutil.Process]) -> None:
    ended = run_by_id(workspace.store, run.id)
    assert (ended.status, ended.error) == ("cancelled", None)
    assert "Traceback" not in read_log(workspace, ended)
    _, alive = psutil.wait_procs(group, timeout=10)
    assert alive == []


def test_a_stop_while_regions_are_proposed_ends_cancelled_soon(ready: Workspace, searching: Run) -> None:
    group = psutil.Process(searching.pid).children(recursive=True)
    begun = time.monotonic()
    stop(ready, searching.id)
    assert time.monotonic() - begun < 15
    assert_cancelled_with_all_its_processes(ready, searching, group)
    assert f"Stopped. Resume the run with `orl runs resume {searching.id}`." in read_log(ready, searching)


def test_killing_a_run_while_regions_are_proposed_ends_cancelled(ready: Workspace, searching: Run) -> None:
    group = psutil.Process(searching.pid).children(recursive=True)
    kill(ready, searching.id)  # as a stop does when nothing has happened for a while: it asks every process to end
    assert_cancelled_with_all_its_processes(ready, searching, group)


@pytest.mark.parametrize(
    ("asked", "ended"), [(True, ("cancelled", None, 0)), (False, ("failed", "A helper process was killed.", 2))]
)
def test_a_helper_that_is_lost_after_a_stop_was_asked_for_is_part_of_the_stop(
    place: Workspace, monkeypatch: pytest.MonkeyPatch, asked: bool, ended: tuple[str, str | None, int]
) -> None:
    class Losing:
        together = 1

        def work(self, workspace: Workspace, run_id: int, progress: worker.RunProgress) -> None:
            if asked:
                os.kill(os.getpid(), signal.SIGTERM)
            raise HelperLost("A helper process was killed.")

    run = add_run(place.store, Run(kind="mine", name="x", params={}))
    monkeypatch.setattr(worker, "job_of", lambda run: Losing())
    monkeypatch.setattr(worker, "_wait_for_turn", lambda *_: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        code = worker.execute(place, run.id)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    row = run_by_id(place.store, run.id)
    assert (row.status, row.error, row.exit_code) == ended
    assert code == ended[2]


def test_a_run_that_fails_keeps_one_sentence_and_exits_with_2(place: Workspace, tiny_byol: BYOLConfig) -> None:
    run = add_run(place.store, Run(kind="train", name="x", params={"correspondence": "gone", "config": {}}))
    new_folder(place, run.id)
    ended = subprocess.run(worker_command(place, run.id), capture_output=True, text=True, check=False)
    failed = run_by_id(place.store, run.id)
    assert ended.returncode == 2
    assert (failed.status, failed.exit_code) == ("failed", 2)
    assert failed.error == "The correspondence set 'gone' was deleted. Start another run."
    log = read_log(place, failed)
    assert failed.error in log
    assert "Traceback" not in log + ended.stdout + ended.stderr


def test_a_run_that_python_code_starts_runs_no_file_of_the_current_folder(
    place: Workspace, tiny_byol: BYOLConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("train", "orl_explorer", "argparse", "sqlalchemy"):
        (foreign / f"{name}.py").write_text("import os\nos.close(os.open(__file__ + '.ran', os.O_CREAT))\n")
    monkeypatch.chdir(foreign)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    done = wait(place, launch_pretrain(place, "demo", tiny_byol.model_copy(update={"epochs": 1}), "byol").id)
    assert (done.status, list(foreign.glob("*.ran"))) == ("done", [])


def test_a_run_soon_waits_asleep_and_keeps_its_memory_unless_told_otherwise(
    place: Workspace, tiny_byol: BYOLConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    run = launch_pretrain(place, "demo", tiny_byol.model_copy(update={"epochs": LONG}), "environment")
    pid = run_by_id(place.store, run.id).pid
    assert pid is not None
    found = psutil.Process(pid).environ()
    assert (found["GOMP_SPINCOUNT"], found["MALLOC_MMAP_MAX_"]) == ("3000", "0")
    assert found["MALLOC_TRIM_THRESHOLD_"] == "131072"


def living(workspace: Workspace, **changes: object) -> Run:
    """Write a running run whose process is this one."""
    run = add_run(workspace.store, Run(kind="mine", name="set", params={}))
    update_run(workspace.store, run.id, **({"status": "running", "heartbeat_at": now()} | identity() | changes))
    return run_by_id(workspace.store, run.id)


def test_a_recycled_pid_is_not_mistaken_for_the_run(workspace: Workspace) -> None:
    ours = living(workspace)
    recycled = living(workspace, pid_started_at=psutil.Process().create_time() - 3600)
    assert is_alive(ours)
    assert not is_alive(recycled)
    assert reconcile(workspace) == [recycled.id]
    assert [status(workspace, r) for r in (ours, recycled)] == ["running", "crashed"]
    # And the process that has its pid now is left in peace: this test goes on.
    kill(workspace, recycled.id)


def test_a_run_that_was_asked_to_stop_and_is_gone_counts_as_cancelled(workspace: Workspace) -> None:
    run = living(workspace, status="stopping", pid_started_at=1.0)
    assert reconcile(workspace) == [run.id]
    found = run_by_id(workspace.store, run.id)
    assert (found.status, found.error) == ("cancelled", None)


@pytest.mark.parametrize(("seconds", "alive"), [(30, True), (90, False)])
def test_on_another_host_a_run_lives_as_long_as_its_heart_beats(
    workspace: Workspace, seconds: int, alive: bool
) -> None:
    run = living(workspace, host="elsewhere", heartbeat_at=now() - timedelta(seconds=seconds))
    assert is_alive(run) == alive


def test_a_resumed_run_is_not_lost_before_its_process_is_there(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour_ago = now() - timedelta(hours=1)
    run = living(workspace, status="cancelled", heartbeat_at=an_hour_ago, created_at=an_hour_ago)
    monkeypatch.setattr(launcher, "_start", lambda place, queued: (reconcile(place), queued)[1])
    resume(workspace, run.id)
    assert status(workspace, run) == "queued"


def test_a_run_that_cannot_work_is_never_queued(place: Workspace, tiny_mine: MineConfig) -> None:
    with pytest.raises(UserError, match="A batch of 512 photos is too large: the dataset 'demo' has 12"):
        launch_pretrain(place, "demo", BYOLConfig())
    with pytest.raises(StoreError, match=r"There is no dataset 'x'\. Known datasets: demo\."):
        launch_pretrain(place, "x", BYOLConfig())
    with pytest.raises(StoreError, match="There is no encoder 'starter'"):
        launch_mine(place, "demo", "starter", "set", tiny_mine)
    with pytest.raises(StoreError, match="There is no correspondence set 'set'"):
        launch_train(place, "set", ORLConfig())
    assert runs(place.store) == []


@pytest.mark.parametrize("name", ["a/b", "..", "../../elsewhere"])
def test_a_name_that_leads_out_of_the_workspace_is_refused(place: Workspace, tiny_byol: BYOLConfig, name: str) -> None:
    with pytest.raises(UserError, match="Invalid name for an encoder"):
        launch_pretrain(place, "demo", tiny_byol, name)
    assert runs(place.store) == []


def test_the_end_of_a_log_is_read(workspace: Workspace) -> None:
    run = living(workspace)
    assert read_log(workspace, run) == ""
    path = workspace.path / run.log_path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"first line\nlast line \xff\n")
    assert read_log(workspace, run) == "first line\nlast line \ufffd\n"
    assert read_log(workspace, run, last_bytes=7) == "line \ufffd\n"
