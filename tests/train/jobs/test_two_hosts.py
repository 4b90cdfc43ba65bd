"""A training over two hosts: network namespaces with names and addresses of their own, joined by a cable."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import run_by_id
from orl_explorer.train.jobs.launcher import launch, read_log, resume, stop, wait, worker_line
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace
from tests.named import launch_pretrain, pretraining
from tests.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
HOSTS = ("orl-host-a", "orl-host-b")
ADDRESSES = ("10.213.77.1", "10.213.77.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Two hosts on this machine."""

    def __init__(self, folder: Path) -> None:
        """folder: for the file that gives names to their addresses."""
        mark = uuid4().hex[:6]
        self.spaces = [f"orl-{mark}-{letter}" for letter in "ab"]
        self.names = folder / "hosts"
        self.names.write_text("127.0.0.1 localhost\n" + "".join(map("{} {}\n".format, ADDRESSES, HOSTS)))
        self.commands: list[subprocess.Popen] = []
        for space in self.spaces:
            ip("netns", "add", space)
        first, second = self.spaces
        ip("link", "add", "cable", "netns", first, "type", "veth", "peer", "name", "cable", "netns", second)
        for space, address in zip(self.spaces, ADDRESSES, strict=True):
            ip("-n", space, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", space, "link", "set", "lo", "up")
        self.plug(True)

    def plug(self, in_: bool) -> None:
        """Plug the cable in, or cut it."""
        for space in self.spaces:
            ip("-n", space, "link", "set", "cable", "up" if in_ else "down")

    def start(self, number: int, line: str, log: Path) -> subprocess.Popen:
        """Start a command line on a host."""
        names = f"mount --bind {self.names} /etc/hosts && hostname {HOSTS[number]}"
        script = f"{names} && cd {ROOT} && exec env {line}"
        inside = ["ip", "netns", "exec", self.spaces[number], "unshare", "--uts", "--mount", "sh", "-c", script]
        with log.open("ab") as file:
            self.commands.append(subprocess.Popen(inside, stdout=file, stderr=file, start_new_session=True))
        return self.commands[-1]

    def kill(self, number: int) -> None:
        """Kill all processes of a host, as a power cut would."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.spaces[number]], check=True, capture_output=True, text=True
        )
        for pid in map(int, listed.stdout.split()):
            os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """End the processes of both hosts, and remove them."""
        for number, space in enumerate(self.spaces):
            self.kill(number)
            ip("netns", "delete", space)
        for command in self.commands:
            command.wait()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root makes network namespaces, on Linux")
    try:
        made = Hosts(tmp_path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this system makes no network namespaces: {error}")
    yield made
    made.remove()


def work(hosts: Hosts, workspace: Workspace, run: Run, folder: Path) -> list[subprocess.Popen]:
    """Start the command that the run names, on both hosts."""
    line = worker_line(workspace, run)
    assert line == (
        f"PYTHONSAFEPATH=1 torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-id {run.id} "
        f"--rdzv-endpoint HOST:29400 -m orl_explorer worker {run.id} --workspace {workspace.path}"
    )
    torchrun = shlex.join([sys.executable, "-m", "torch.distributed.run"])
    line = line.replace("torchrun", torchrun, 1).replace("HOST", HOSTS[0])
    return [hosts.start(number, line, folder / f"torchrun-{number}.txt") for number in (0, 1)]


def test_a_run_on_two_hosts_of_which_one_is_lost_is_resumed_to_the_same_bits(
    hosts: Hosts, photographed: Workspace, tiny_byol: BYOLConfig, tmp_path: Path
) -> None:
    config = tiny_byol.model_copy(update={"epochs": 4, "batch_size": 4, "image_size": 96, "checkpoint_every": 1})
    place = photographed
    whole = wait(place, launch_pretrain(place, "demo", config, "whole", processes=2).id)
    assert whole.status == "done", read_log(place, whole)

    run = launch(place, pretraining(place, "demo", config, "lost"), placed=Placement("queue-only", 2))

    def now() -> Run:
        return run_by_id(place.store, run.id)

    def said() -> str:
        files = [*tmp_path.glob("torchrun-*.txt")]
        return "\n".join([str(now().status), read_log(place, now()), *(file.read_text() for file in files)])

    first, _ = work(hosts, place, run, tmp_path)
    until(lambda: list(place.run_folder(run.id).glob("checkpoint-*.pt")), said)
    hosts.plug(False)
    hosts.kill(1)
    assert (now().status, now().host, now().processes, now().nodes) == ("running", HOSTS[0], 2, 2)
    step = now().progress
    assert step < 12
    time.sleep(1.5)
    assert now().progress <= step + 1  # the first host waits for the other

    stopped = stop(place, run.id, grace=1)  # from here, a third host: its own process ends it
    assert (stopped.status, stopped.error) == ("cancelled", None), said()
    assert "Killed, as asked from another machine." in read_log(place, stopped)
    assert first.wait(30) != 0
    hosts.kill(0)

    hosts.plug(True)
    again = resume(place, run.id)
    assert (again.status, again.host, again.pid) == ("queued", "", None)
    for each in work(hosts, place, again, tmp_path):
        assert each.wait(240) == 0, said()
    done = now()
    assert (done.status, done.error) == ("done", None), said()
    assert "Resumed at step " in read_log(place, done)
    weights = [encoder_named(place.store, name).weights_sha256 for name in ("whole", "lost")]
    assert weights[0] == weights[1]
