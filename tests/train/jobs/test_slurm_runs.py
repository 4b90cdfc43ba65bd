"""Runs on a real SLURM: a controller and two nodes on this machine."""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import run_by_id
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launcher import launch, read_log, reconcile, resume, stop, wait
from orl_explorer.train.jobs.launchers.choice import placement
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace
from tests.named import pretraining
from tests.waiting import until

pytestmark = pytest.mark.slow

CONF = """
ClusterName=orl
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=3
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=2
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=2
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """Start a SLURM whose commands this process and the runs find."""
    if shutil.which("slurmctld") is None or shutil.which("slurmd") is None:
        pytest.skip("no SLURM; install it with: apt-get install slurm-wlm")
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    if user != "root":
        pytest.skip("only root starts the nodes of a SLURM")
    folder = Path(tempfile.mkdtemp(prefix="orl-slurm-", dir="/tmp"))  # a socket's path has at most 107 characters
    (folder / "state").mkdir()
    controller, first, second = free_ports(3)
    ports = {"controller": controller, "first": first, "second": second}
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=platform.node(), user=user, folder=folder, **ports))
    daemons = []
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("ab") as log:
        patch.setenv("SLURM_CONF", str(conf))
        try:
            for words in (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", "one"], ["slurmd", "-D", "-N", "two"]):
                daemons.append(subprocess.Popen(words, stdout=log, stderr=log))
            until(
                lambda: "idle|2" in said_by("sinfo", "--noheader", "--format=%t|%D"),
                lambda: (folder / "log").read_text(),
            )
            yield
        finally:
            subprocess.run(["scancel", "--full", "--state=RUNNING"], check=False, capture_output=True)
            until(nothing_runs, lambda: said_by("squeue"))  # a daemon that ends leaves the processes of its jobs
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(20)
            shutil.rmtree(folder, ignore_errors=True)


def nothing_runs() -> bool:
    return not said_by("squeue", "--noheader")


def said_by(*words: str) -> str:
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout


def test_a_run_on_two_nodes_is_launched_watched_stopped_and_resumed(
    slurm: None, photographed: Workspace, tiny_byol: BYOLConfig
) -> None:
    place, config = photographed, tiny_byol.model_copy(update={"epochs": 8, "batch_size": 4, "checkpoint_every": 8})
    job = pretraining(place, "demo", config, "spread")
    run = launch(place, job, placed=placement(place, "slurm", nodes=2))
    assert run.handle is not None
    assert run.handle.isdecimal()

    def now() -> Run:
        return run_by_id(place.store, run.id)

    def said() -> str:
        return f"{now().status} {now().error}\n{read_log(place, now())}"

    until(lambda: now().progress > 0 or now().status == "failed", said)
    assert (now().status, now().host, now().processes, now().nodes) == ("running", platform.node(), 2, 2), said()
    assert reconcile(place) == []
    stopped = stop(place, run.id)
    assert (stopped.status, stopped.exit_code) == ("cancelled", 0), said()
    assert f"Stopped. Resume the run with `orl runs resume {run.id}`." in read_log(place, stopped)
    assert stopped.progress < 24

    done = wait(place, resume(place, run.id).id)
    assert (done.status, done.error) == ("done", None), said()
    assert done.handle != run.handle
    assert "Resumed at step " in read_log(place, done)
    until(nothing_runs, lambda: f"{said_by('squeue')}\n{said()}")  # the processes of both nodes end by themselves


def test_a_job_in_the_queue_of_slurm_is_cancelled_and_a_refusal_is_a_sentence(
    slurm: None, photographed: Workspace, tiny_byol: BYOLConfig
) -> None:
    place, settings = photographed, photographed.path / "settings.toml"
    settings.write_text('[launch]\non = "slurm"\n[slurm]\ncpus_per_task = 2\nnodelist = "one,two"\n')
    job = pretraining(place, "demo", tiny_byol.model_copy(update={"batch_size": 12}))
    held = said_by("sbatch", "--parsable", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 60").strip()
    try:
        run = launch(place, job, placed=placement(place, nodes=2))
        assert reconcile(place) == []
        assert said_by("squeue", "--noheader", "--format=%T", f"--jobs={run.handle}").strip() == "PENDING"
        assert stop(place, run.id).status == "cancelled"
        assert said_by("squeue", "--noheader", "--format=%T", f"--jobs={run.handle}").strip() == ""
    finally:
        subprocess.run(["scancel", held], check=True)
    settings.write_text('[slurm]\npartition = "none"\n')
    with pytest.raises(UserError) as refusal:
        launch(place, job, placed=placement(place, "slurm"))
    assert str(refusal.value) == (
        "SLURM refused: sbatch: error: invalid partition specified: none sbatch: error: Batch job submission failed: "
        "Invalid partition name specified."
    )
