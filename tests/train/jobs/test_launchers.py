"""Runs that an engine schedules, by a fake one, and where a run may be asked to work."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import add_run, begin_if_first, run_by_id, runs, take_run, update_run
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs import launcher, worker
from orl_explorer.train.jobs.kinds import MakeMap
from orl_explorer.train.jobs.launcher import (
    identity,
    kill,
    launch,
    read_log,
    reconcile,
    request_stop,
    resume,
    stop,
    worker_command,
    worker_line,
)
from orl_explorer.train.jobs.launchers import choice
from orl_explorer.train.jobs.launchers.base import Unreachable
from orl_explorer.train.jobs.launchers.choice import Placement, placement
from orl_explorer.train.jobs.launchers.ray import RayLauncher
from orl_explorer.train.jobs.worker import RunProgress
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace
from tests.named import launch_pretrain, pretraining

HERE = platform.node()


class Engine:
    """An engine that starts nothing. It answers for its jobs, or not at all."""

    def __init__(self) -> None:
        self.jobs: dict[str, list[str]] = {}
        self.asked = 0
        self.down = False
        self.refuses = ""

    def start(self, workspace: Workspace, run: Run, command: Sequence[str]) -> str:
        if self.refuses:
            raise UserError(self.refuses)
        self.jobs[f"job-{len(self.jobs) + 1}"] = list(command)
        return f"job-{len(self.jobs)}"

    def alive(self, workspace: Workspace, run: Run) -> bool:
        self.asked += 1
        if self.down:
            raise Unreachable("The engine does not answer.")
        return run.handle in self.jobs

    def stop(self, workspace: Workspace, run: Run) -> None:
        if self.down:
            raise Unreachable("The engine does not answer.")
        self.jobs.pop(str(run.handle), None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine of all runs on SLURM."""
    made = Engine()
    monkeypatch.setattr(launcher, "launcher_named", lambda _, on: made if on == "slurm" else None)
    monkeypatch.setattr(launcher, "engine_of", lambda run: made if run.launcher == "slurm" else None)
    monkeypatch.setattr(launcher, "_answers", {})
    return made


def scheduled(workspace: Workspace, **values: object) -> Run:
    """Write a run that an engine has in its queue, as job-1."""
    run = add_run(workspace.store, Run(kind="mine", name="set", params={}, launcher="slurm"))
    update_run(workspace.store, run.id, **({"handle": "job-1", "heartbeat_at": now()} | values))
    return run_by_id(workspace.store, run.id)


def ago(seconds: float) -> dict[str, object]:
    return {"heartbeat_at": now() - timedelta(seconds=seconds)}


def elsewhere(workspace: Workspace, seconds: float = 0, **values: object) -> Run:
    """Write a running run whose process is on another host."""
    run = add_run(workspace.store, Run(kind="mine", name="set", params={}))
    there = {"host": "elsewhere", "pid": 12, "pid_started_at": 1.0, "status": "running"}
    update_run(workspace.store, run.id, **(there | ago(seconds) | values))
    return run_by_id(workspace.store, run.id)


def state(workspace: Workspace, run: Run) -> tuple[str, str | None]:
    found = run_by_id(workspace.store, run.id)
    return found.status, found.error


# Launching -----------------------------------------------------------------------------------------------


def test_an_engine_gets_the_command_of_the_run_and_its_handle_is_kept(
    photographed: Workspace, tiny_byol: BYOLConfig, engine: Engine
) -> None:
    config = tiny_byol.model_copy(update={"batch_size": 12})
    run = launch(photographed, pretraining(photographed, "demo", config, processes=3), placed=Placement("slurm", 2))
    assert (run.status, run.launcher, run.handle, run.host, run.pid) == ("queued", "slurm", "job-1", "", None)
    assert (run.nodes, run.processes) == (2, 6)
    assert engine.jobs == {"job-1": worker_command(photographed, run.id)}
    assert reconcile(photographed) == []


def test_what_an_engine_refuses_is_the_reason_why_the_run_failed(
    photographed: Workspace, tiny_byol: BYOLConfig, engine: Engine
) -> None:
    engine.refuses = "SLURM refused: invalid partition."
    with pytest.raises(UserError, match="^SLURM refused: invalid partition.$"):
        launch(photographed, pretraining(photographed, "demo", tiny_byol), placed=Placement("slurm"))
    [run] = runs(photographed.store)
    assert state(photographed, run) == ("failed", "SLURM refused: invalid partition.")
    engine.refuses = ""
    assert resume(photographed, run.id).handle == "job-1"


def test_a_run_whose_name_was_taken_meanwhile_is_not_resumed(
    photographed: Workspace, tiny_byol: BYOLConfig, engine: Engine
) -> None:
    first = launch(photographed, pretraining(photographed, "demo", tiny_byol), placed=Placement("slurm"))
    update_run(photographed.store, first.id, status="failed")
    second = launch(photographed, pretraining(photographed, "demo", tiny_byol), placed=Placement("slurm"))
    assert second.name == first.name
    with pytest.raises(UserError, match=rf"^Run {first.id} cannot be resumed: its name '{first.name}' has been taken"):
        resume(photographed, first.id)
    assert state(photographed, first)[0] == "failed"
    update_run(photographed.store, second.id, status="failed")
    assert resume(photographed, first.id).status == "queued"


def test_several_machines_need_equal_parts_and_a_training(
    photographed: Workspace, tiny_byol: BYOLConfig, engine: Engine
) -> None:
    with pytest.raises(UserError, match="A batch of 6 photos cannot be divided into 4 equal parts"):
        launch(photographed, pretraining(photographed, "demo", tiny_byol, processes=2), placed=Placement("slurm", 2))
    shown = MakeMap(dataset_id=1, encoder_id=1)
    with pytest.raises(UserError, match=r"^Only a training can use 2 machines\. Leave out --nodes for"):
        shown.share(2)
    assert runs(photographed.store) == []


def test_local_runs_of_a_host_wait_for_one_another_and_for_nobody_else(workspace: Workspace) -> None:
    def queued(**where: str) -> int:
        return add_run(workspace.store, Run(kind="mine", name="set", params={}, **where)).id

    here, there, by_engine = queued(host="a"), queued(host="b"), queued(launcher="slurm")
    by_hand, second, other = queued(launcher="queue-only"), queued(host="a"), queued(host="a", device="map")
    assert [begin_if_first(workspace.store, run) for run in (here, there, by_engine, by_hand)] == [True] * 4
    assert not begin_if_first(workspace.store, second)
    assert begin_if_first(workspace.store, other)
    update_run(workspace.store, here, status="done")
    assert begin_if_first(workspace.store, second)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"on": "cloud"}, "Invalid value for --on: cloud. Use local, ray, ray://ADDRESS or slurm."),
        ({"on": "ray://"}, "Invalid value for --on: ray://. Use local, ray, ray://ADDRESS or slurm."),
        ({"nodes": 2}, "A local run uses one machine, not 2. Use --on slurm, or --queue-only and torchrun."),
        (
            {"on": "ray", "nodes": 2},
            "A run on Ray uses one machine, not 2. Use --on slurm, or --queue-only and torchrun.",
        ),
        (
            {"on": "slurm", "queue_only": True},
            "Give either --queue-only or --on slurm: a queued run waits for a worker that you start.",
        ),
    ],
)
def test_a_place_that_cannot_be_is_a_sentence(workspace: Workspace, asked: dict, sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        placement(workspace, **asked)
    assert str(refusal.value) == sentence


def test_the_settings_of_the_workspace_name_the_default(workspace: Workspace) -> None:
    assert placement(workspace) == Placement("local", 1)
    (workspace.path / "settings.toml").write_text('[launch]\non = "slurm"\n[slurm]\npartition = "gpu"\ntime = 60\n')
    assert placement(workspace, nodes=2) == Placement("slurm", 2)
    assert placement(workspace, "local") == Placement("local", 1)
    assert placement(workspace, queue_only=True) == Placement("queue-only", 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[launch]\nwhere = "slurm"', "Unknown key in {path}: where of [launch]. Known keys: on."),
        ("[ray]\nnum_tpus = 1", "Unknown key in {path}: num_tpus of [ray]. Known keys: memory, num_cpus, num_gpus."),
        ("[cloud]\nsize = 1", "Unknown table in {path}: cloud. Known tables: launch, ray, slurm."),
        ('on = "slurm"', "Unknown table in {path}: on. Known tables: launch, ray, slurm."),
        ("[launch", "Cannot read {path}: Expected ']' at the end of a table declaration (at end of document)."),
    ],
)
def test_settings_that_nothing_reads_are_refused(workspace: Workspace, text: str, sentence: str) -> None:
    path = workspace.path / "settings.toml"
    path.write_text(text)
    with pytest.raises(UserError) as refusal:
        placement(workspace)
    assert str(refusal.value) == sentence.format(path=path)


def test_a_missing_engine_is_a_sentence_before_anything_is_queued(
    photographed: Workspace, tiny_byol: BYOLConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice.ray, "find_spec", lambda _: None)
    monkeypatch.setattr(choice.slurm.shutil, "which", lambda _: None)
    job = pretraining(photographed, "demo", tiny_byol)
    for on, sentence in (
        ("ray", "Runs on Ray need ray. Install it with: pip install 'orl-explorer[ray]'."),
        ("slurm", "There is no SLURM on this machine: sbatch is missing. Use a login node of the cluster."),
    ):
        with pytest.raises(UserError) as refusal:
            launch(photographed, job, placed=Placement(on))
        assert str(refusal.value) == sentence
    assert runs(photographed.store) == []


def test_no_cluster_of_ray_is_a_sentence(workspace: Workspace, new_run: Callable[..., int]) -> None:
    pytest.importorskip("ray")
    run = run_by_id(workspace.store, new_run(workspace, "mine", "set"))
    with pytest.raises(
        Unreachable, match="^Cannot reach Ray's Jobs API at http://127.0.0.1:1: Failed to connect to Ray"
    ):
        RayLauncher("127.0.0.1:1").start(workspace, run, ["true"])


# Watching ------------------------------------------------------------------------------------------------


def test_an_engine_is_asked_about_a_run_that_has_not_begun_but_rarely(workspace: Workspace, engine: Engine) -> None:
    engine.jobs["job-1"] = []
    run = scheduled(workspace, **ago(3600))
    assert [reconcile(workspace) for _ in range(5)] == [[]] * 5
    assert engine.asked == 1
    engine.jobs.clear()
    launcher._answers.clear()  # half a minute later
    assert reconcile(workspace) == [run.id]
    assert state(workspace, run) == (
        "crashed",
        "Its job ended before it began (slurm: job-1). See whether its host has the workspace.",
    )


def test_an_engine_is_asked_about_a_running_run_only_if_it_is_silent(workspace: Workspace, engine: Engine) -> None:
    run = scheduled(workspace, status="running", host="elsewhere", pid=12, pid_started_at=1.0)
    assert (reconcile(workspace), engine.asked) == ([], 0)
    update_run(workspace.store, run.id, **ago(20))
    assert reconcile(workspace) == [run.id]  # the engine knows no such job
    assert engine.asked == 1
    assert state(workspace, run) == ("crashed", "Its process ended unexpectedly.")


@pytest.mark.parametrize(("seconds", "gone"), [(20, False), (90, True)])
def test_without_an_answer_the_heartbeat_counts(
    workspace: Workspace, engine: Engine, seconds: float, gone: bool
) -> None:
    engine.down = True
    begun = {"status": "running", "host": "elsewhere", "pid": 12, "pid_started_at": 1.0}
    run, waiting = scheduled(workspace, **begun, **ago(seconds)), scheduled(workspace, handle="job-2", **ago(3600))
    assert reconcile(workspace) == ([run.id] if gone else [])
    assert state(workspace, waiting)[0] == "queued"


def test_a_run_that_was_never_submitted_does_not_wait_for_ever(workspace: Workspace, engine: Engine) -> None:
    young, old = scheduled(workspace, handle=None), scheduled(workspace, handle=None, **ago(90))
    assert reconcile(workspace) == [old.id]
    assert state(workspace, young)[0] == "queued"


def test_a_log_holds_what_processes_on_other_machines_said(workspace: Workspace) -> None:
    run = scheduled(workspace)
    folder = workspace.run_folder(run.id)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("first\n")
    (folder / "log-1.txt").write_text("")
    (folder / "log-2.txt").write_text("Cannot read a.jpg.\n")
    assert read_log(workspace, run) == "first\nProcess 2:\nCannot read a.jpg.\n"


# Stopping ------------------------------------------------------------------------------------------------


def test_a_stop_before_the_beginning_cancels_the_job_and_a_late_worker_refuses(
    workspace: Workspace, engine: Engine
) -> None:
    engine.jobs["job-1"] = []
    run = scheduled(workspace)
    assert stop(workspace, run.id).status == "cancelled"
    assert engine.jobs == {}
    with pytest.raises(
        UserError, match=rf"^Run {run.id} has ended \(cancelled\)\. Resume it first with `orl runs resume {run.id}`\.$"
    ):
        worker.work(workspace, run.id)


def test_a_job_that_could_not_be_cancelled_is_named(workspace: Workspace, engine: Engine) -> None:
    engine.jobs["job-1"], engine.down = [], True
    run = request_stop(workspace, scheduled(workspace).id)
    assert (run.status, run.error) == (
        "cancelled",
        "Its job job-1 was not cancelled: The engine does not answer.",
    )


def test_a_kill_of_a_scheduled_run_goes_by_its_engine(workspace: Workspace, engine: Engine) -> None:
    engine.jobs["job-1"] = []
    run = scheduled(workspace, status="running", host="elsewhere", pid=12, pid_started_at=1.0)
    killed = kill(workspace, run.id)
    assert (killed.status, killed.error, killed.kill_asked, engine.jobs) == ("cancelled", None, True, {})


def test_a_kill_on_another_host_is_done_there(workspace: Workspace) -> None:
    run = elsewhere(workspace)

    def answer() -> None:
        while not run_by_id(workspace.store, run.id).kill_asked:
            time.sleep(0.05)
        update_run(workspace.store, run.id, status="cancelled")

    there = threading.Thread(target=answer)
    there.start()
    assert kill(workspace, run.id).status == "cancelled"
    there.join()


def test_a_host_that_does_not_answer_is_a_sentence_and_the_run_stays(workspace: Workspace) -> None:
    run = elsewhere(workspace, seconds=40)
    with pytest.raises(UserError) as refusal:
        kill(workspace, run.id, within=0.5)
    assert str(refusal.value).replace("41 s", "40 s") == (
        f"elsewhere does not answer. The last heartbeat of run {run.id} was 40 s ago. "
        "Stop it again when that is 60 s ago, or kill process 12 there."
    )
    assert state(workspace, run)[0] == "running"


def test_when_the_heartbeat_is_old_the_run_counts_as_cancelled(workspace: Workspace) -> None:
    run = elsewhere(workspace, seconds=59)
    stopped = stop(workspace, run.id, grace=0)
    assert stopped.status == "cancelled"
    assert stopped.error == "elsewhere has not answered for 60 s. What it had saved is kept."


# Workers -------------------------------------------------------------------------------------------------


def test_the_process_of_a_queued_run_on_a_busy_host_has_time_to_import(workspace: Workspace) -> None:
    slow = elsewhere(workspace, seconds=280, status="queued")
    lost = elsewhere(workspace, seconds=320, status="queued")
    begun = elsewhere(workspace, seconds=61)
    reconcile(workspace)
    assert [state(workspace, run)[0] for run in (slow, lost, begun)] == ["queued", "crashed", "crashed"]


def test_a_queued_run_waits_for_a_worker_as_long_as_it_takes(
    photographed: Workspace, tiny_byol: BYOLConfig, engine: Engine
) -> None:
    run = launch(photographed, pretraining(photographed, "demo", tiny_byol), placed=Placement("queue-only"))
    update_run(photographed.store, run.id, **ago(9 * 86_400))
    assert reconcile(photographed) == []
    assert state(photographed, run)[0] == "queued"
    assert worker_line(photographed, run) == f"orl worker {run.id} --workspace {photographed.path}"
    stopped = stop(photographed, run.id)
    assert (stopped.status, stopped.error) == ("cancelled", None)
    again = resume(photographed, run.id)
    assert (again.status, again.pid, again.launcher) == ("queued", None, "queue-only")


def test_of_two_workers_one_takes_the_run_and_the_other_says_who_has_it(workspace: Workspace) -> None:
    run = add_run(workspace.store, Run(kind="mine", name="set", params={}, launcher="queue-only"))
    assert take_run(workspace.store, run.id, ("elsewhere", 12), heartbeat_at=now(), pid_started_at=1.0)
    with pytest.raises(
        UserError, match=rf"^Process 12 on elsewhere works on run {run.id} already\. Stop it first, or wait\.$"
    ):
        worker.work(workspace, run.id)
    update_run(workspace.store, run.id, status="done")
    with pytest.raises(UserError, match=rf"^Run {run.id} has ended \(done\)\. Start a new run\.$"):
        worker.work(workspace, run.id)


@pytest.mark.parametrize(
    ("nodes", "processes", "line"),
    [
        (1, 1, "orl worker 1 --workspace '/a b'"),
        (1, 4, "PYTHONSAFEPATH=1 torchrun --standalone --nproc-per-node 4 -m orl_explorer worker 1 --workspace '/a b'"),
        (
            2,
            8,
            "PYTHONSAFEPATH=1 torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-id 1 "
            "--rdzv-endpoint HOST:29400 -m orl_explorer worker 1 --workspace '/a b'",
        ),
    ],
)
def test_the_command_of_a_worker_names_the_processes_that_the_run_had(nodes: int, processes: int, line: str) -> None:
    run = Run(id=1, kind="pretrain", name="x", params={"processes": 1}, nodes=nodes, processes=processes)
    assert worker_line(Workspace(Path("/a b"), None), run) == line  # type: ignore[arg-type]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list that grows when a process would kill itself."""
    kills: list[bool] = []
    monkeypatch.setattr(worker, "end_these_processes", lambda: kills.append(True))
    return kills


def test_a_process_that_is_to_be_killed_ends_its_run_and_itself(workspace: Workspace, ended: list[bool]) -> None:
    run = add_run(workspace.store, Run(kind="mine", name="set", params={}))
    update_run(workspace.store, run.id, status="stopping", kill_asked=True, **identity())
    progress = RunProgress(workspace.store, run.id)
    progress._obey(run_by_id(workspace.store, run.id))
    progress.close()
    assert ended[:1] == [True]
    assert state(workspace, run) == ("cancelled", None)


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"pid": 1}, {"status": "crashed"}])
def test_a_process_whose_run_goes_on_elsewhere_ends_and_changes_nothing(
    workspace: Workspace, ended: list[bool], change: dict
) -> None:
    run = add_run(workspace.store, Run(kind="mine", name="set", params={}))
    update_run(workspace.store, run.id, **identity() | {"status": "running", "progress": 3} | change)
    progress = RunProgress(workspace.store, run.id)
    progress._obey(run_by_id(workspace.store, run.id))
    progress.close()
    assert ended[:1] == [True]
    found = run_by_id(workspace.store, run.id)
    assert found.status == change.get("status", "running")
    if "status" not in change:
        assert (found.progress, found.heartbeat_at) == (3, None)


def test_launched_runs_have_their_host_from_the_beginning(
    photographed: Workspace, tiny_byol: BYOLConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_start", lambda _, run: run)
    run = launch_pretrain(photographed, "demo", tiny_byol)
    assert (run.launcher, run.host, run.nodes, run.processes) == ("local", HERE, 1, 1)
