"""Runs on a real Ray cluster, by its Jobs API."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import run_by_id
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.launcher import kill, launch, read_log, reconcile, resume, stop, wait
from orl_explorer.train.jobs.launchers.choice import engine_of, placement
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace
from tests.named import mining_of, pretraining
from tests.waiting import until

pytestmark = pytest.mark.slow

MEMORY = 80_000_000  # bytes of the object store, which these runs do not use


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Start a Ray cluster of one node. Return the address of its Jobs API."""
    pytest.importorskip("ray")
    folder = Path(tempfile.mkdtemp(prefix="orl-ray-", dir="/tmp"))  # a socket's path has at most 107 characters
    gcs, dashboard, agent = free_port(), free_port(), free_port()
    where = ["--head", f"--port={gcs}", f"--dashboard-port={dashboard}", "--include-dashboard=true", "--block"]
    where.append(f"--dashboard-agent-listen-port={agent}")  # without it, a second cluster takes no jobs
    limits = ["--num-cpus=2", f"--object-store-memory={MEMORY}", "--disable-usage-stats", f"--temp-dir={folder}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, *limits]
    with (folder / "log").open("wb") as log:
        environment = os.environ | {
            "RAY_worker_niceness": "0"
        }  # Ray's 15 would leave the cores to the tests beside these
        head = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        until(lambda: answers(dashboard), lambda: (folder / "log").read_text())
        yield f"127.0.0.1:{dashboard}"
    finally:
        family = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.wait(30)
        _, left = psutil.wait_procs(family, timeout=10)
        for process in left:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    """Whether the cluster takes jobs: the dashboard is up, and so is the agent that starts them."""
    from ray.job_submission import JobSubmissionClient

    try:
        JobSubmissionClient(f"http://127.0.0.1:{port}").submit_job(entrypoint="true")
    except (RuntimeError, OSError):
        return False
    return True


def test_a_run_is_launched_watched_stopped_killed_and_resumed(
    cluster: str, photographed: Workspace, tiny_byol: BYOLConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, config = photographed, tiny_byol.model_copy(update={"epochs": 30, "checkpoint_every": 30})
    monkeypatch.delenv("OMP_NUM_THREADS")
    run = launch(place, pretraining(place, "demo", config, "far"), placed=placement(place, f"ray://{cluster}"))
    assert run.handle is not None
    assert run.handle.startswith(f"http://{cluster} raysubmit_")

    def now() -> Run:
        return run_by_id(place.store, run.id)

    def said() -> str:
        return f"{now().status} {now().error}\n{read_log(place, now())}"

    until(lambda: now().progress > 0 or now().status == "failed", said)
    assert now().status == "running", said()
    assert "OMP_NUM_THREADS" not in psutil.Process(now().pid).environ()  # Ray's own value is 1
    assert reconcile(place) == []
    stopped = stop(place, run.id)
    assert (stopped.status, stopped.exit_code) == ("cancelled", 0), said()
    assert f"Stopped. Resume the run with `orl runs resume {run.id}`." in read_log(place, stopped)

    again = resume(place, run.id)
    assert again.handle != run.handle
    until(lambda: now().pid is not None, said)
    process = psutil.Process(now().pid)
    monkeypatch.setattr("platform.node", lambda: "elsewhere")  # the engine, not a signal, must end it
    assert kill(place, run.id).status == "cancelled"
    process.wait(10)
    monkeypatch.undo()

    done = wait(place, resume(place, run.id).id)
    assert (done.status, done.error) == ("done", None), said()
    assert "Resumed at step " in read_log(place, done)


def test_a_job_that_ends_before_it_begins_is_a_crash_with_a_sentence(
    cluster: str, photographed: Workspace, tiny_byol: BYOLConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = photographed
    monkeypatch.setattr(launcher, "worker_command", lambda *_: ["sh", "-c", "echo no such folder; exit 3"])
    run = launch(place, pretraining(place, "demo", tiny_byol), placed=placement(place, f"ray://{cluster}"))
    engine = engine_of(run)
    assert engine is not None
    until(lambda: not engine.alive(place, run), lambda: read_log(place, run))
    launcher._answers.clear()
    assert reconcile(place) == [run.id]
    crashed = run_by_id(place.store, run.id)
    assert (crashed.status, crashed.error) == (
        "crashed",
        f"Its job ended before it began (ray://{cluster}: {run.handle}). See whether its host has the workspace.",
    )
    assert read_log(place, crashed) == "no such folder\n"


def test_mining_spreads_over_the_cluster(cluster: str, ready: Workspace, tiny_mine: MineConfig) -> None:
    (ready.path / "settings.toml").write_text("[ray]\nnum_cpus = 2\n")  # of other runs: the search needs the cores
    run = launch(
        ready, mining_of(ready, "demo", "starter", tiny_mine, "far"), placed=placement(ready, f"ray://{cluster}")
    )
    done = wait(ready, run.id)
    log = read_log(ready, done)
    assert (done.status, done.error) == ("done", None), log
    assert "Mining on Ray: 1 machine with 2 cores and 0 GPUs." in log
    assert "Proposals computed: 12, reused: 0." in log
    near = wait(ready, launch(ready, mining_of(ready, "demo", "starter", tiny_mine, "near")).id)
    assert "Proposals computed: 0, reused: 12." in read_log(ready, near)
    of = [complete_set_named(ready.store, name) for name in ("far", "near")]
    assert of[0].pair_count == of[1].pair_count > 0
