"""Where a run works, on the Train page: chosen at its launch, shown while it waits and works."""

from __future__ import annotations

import pytest

from orl_explorer.app.pages.train.history import table_of_runs
from orl_explorer.db.models import Run, now
from orl_explorer.db.runs.runs import add_run, run_by_id, runs, update_run
from orl_explorer.train.jobs import launcher
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import plain
from tests.shell import orl, refused


def waiting(workspace: Workspace, **values: object) -> Run:
    return add_run(
        workspace.store,
        Run(kind="train", name="far", params={"config": {}, "processes": 1}, launcher="queue-only", **values),
    )


def test_a_run_is_queued_for_workers_on_two_machines(here: Workspace, show: Show) -> None:
    at = show("train", stage="3")
    at.number_input("batch_size-orl-small").set_value(4)
    at.selectbox("on-orl").select("queue-only").run()
    at.number_input("nodes-orl").set_value(2).run()
    at.button("launch").click().run()
    assert not at.exception
    run = runs(here.store)[0]
    assert (run.launcher, run.nodes, run.processes, run.status, run.pid) == ("queue-only", 2, 2, "queued", None)
    (bar,) = at.get("progress")
    assert bar.proto.text == "Waiting for a worker"
    assert at.code[0].value == launcher.worker_line(here, run)
    assert "Start this on each of 2 machines that have the same folder. HOST is the name of one of them." in plain(at)
    assert "The run has not begun." in plain(at)


def test_the_form_begins_with_the_default_of_the_workspace_and_says_what_is_wrong(here: Workspace, show: Show) -> None:
    settings = here.path / "settings.toml"
    settings.write_text('[launch]\non = "ray://head:8265"\n')
    assert show("train", stage="3").selectbox("on-orl").value == "ray://head:8265"
    settings.write_text("[cloud]\n")
    at = show("train", stage="3")
    assert at.error[0].value.replace("\\", "") == (
        f"Unknown table in {settings}: cloud. Known tables: launch, ray, slurm."
    )
    assert at.button("launch").disabled


def test_a_run_that_waits_is_not_taken_for_a_silent_one(here: Workspace, show: Show) -> None:
    run = waiting(here)
    update_run(here.store, run.id, heartbeat_at=now().replace(year=2020))
    at = show("train", run=str(run.id))
    assert not at.warning
    (stop,) = [button for button in at.button if button.label == "Stop run"]
    stop.click().run()
    assert run_by_id(here.store, run.id).status == "cancelled"
    assert table_of_runs([waiting(here)])["status"].tolist() == ["waiting for a worker"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"launcher": "slurm", "handle": "17"}, "Queued by SLURM, job 17"),
        ({"launcher": "ray://head:8265", "handle": "http://head:8265 raysubmit_1"}, None),
    ],
)
def test_a_run_in_the_queue_of_an_engine_names_its_job(
    here: Workspace, show: Show, values: dict, text: str | None
) -> None:
    run = add_run(here.store, Run(kind="train", name="far", params={"config": {}}, **values))
    (bar,) = show("train", run=str(run.id)).get("progress")
    said = bar.proto.text.replace("\\", "")
    assert said == (text or "Queued by ray://head:8265, job http://head:8265 raysubmit_1")


def test_a_run_on_another_machine_names_it(here: Workspace, show: Show) -> None:
    run = waiting(here, host="gpu-7", pid=1, nodes=2, heartbeat_at=now())
    update_run(here.store, run.id, status="running", started_at=now())
    at = show("train", run=str(run.id))
    assert "machine `gpu-7` and 1 more" in plain(at)
    assert [metric.label for metric in at.metric] == ["Elapsed"]  # no memory of a process with its pid here


def test_the_command_line_queues_shows_stops_and_resumes_a_run_for_a_worker(here: Workspace) -> None:
    where = ["--workspace", str(here.path)]
    small = ["--preset", "small", "--set", "batch_size=4"]
    done = orl("train", "--correspondence", "demo-starter", *small, "--queue-only", *where)
    run = runs(here.store)[0]
    line = f"orl worker {run.id} --workspace {here.path}"
    assert done.stdout.split("\n")[:2] == [
        f"Run {run.id} waits for a worker. On a machine that has this folder, start:",
        line,
    ]
    assert "waits for a worker" in orl("runs", *where).stdout
    shown = orl("runs", "show", str(run.id), *where).stdout
    assert line in shown
    stopped = orl("runs", "stop", str(run.id), *where)
    assert stopped.stdout.startswith(f"Run {run.id} was stopped. Resume it with")
    assert refused("worker", str(run.id), *where) == (
        f"Run {run.id} has ended (cancelled). Resume it first with `orl runs resume {run.id}`."
    )
    assert line in orl("runs", "resume", str(run.id), *where).stdout
    update_run(here.store, run.id, host="gpu-7", pid=12, pid_started_at=1.0, heartbeat_at=now())
    assert refused("worker", str(run.id), *where) == (
        f"Process 12 on gpu-7 works on run {run.id} already. Stop it first, or wait."
    )
    assert refused("mine", "--dataset", "demo", "--encoder", "starter", "--name", "x", "--on", "cloud", *where) == (
        "Invalid value for --on: cloud. Use local, ray, ray://ADDRESS or slurm."
    )
