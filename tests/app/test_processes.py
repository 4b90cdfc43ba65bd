"""Several servers of one explorer: started, watched, and ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from orl_explorer.app.server import health, processes

PYTHON = sys.executable
# Stands for a server: it writes its number and its id, and waits until its input ends.
SERVER = """
import os, pathlib, sys
pathlib.Path(sys.argv[1], os.environ["ORL_PROCESS"] + "-" + str(os.getpid())).write_text(sys.argv[2])
sys.stdin.read()
"""


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A process that watches two servers, which write their ids into the folder of the test."""
    words = [PYTHON, "-m", "orl_explorer.app.server.processes", "2", "9001", PYTHON, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: len(_ids(tmp_path)) == 2)
        yield process
        process.kill()


def _ids(folder: Path) -> dict[int, str]:
    """The servers that have started: the option of each, by its id."""
    return {int(path.name.split("-")[1]): path.read_text() for path in folder.glob("?-*")}


def _until(there: object) -> None:
    until = time.monotonic() + 20
    while not there():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_each_server_has_a_port_and_they_end_together(watcher: subprocess.Popen, tmp_path: Path) -> None:
    ids = _ids(tmp_path)
    assert sorted(ids.values()) == ["--server.port=9001", "--server.port=9002"]
    watcher.terminate()
    said = watcher.communicate(timeout=20)[1]
    assert (watcher.returncode, said) == (143, "\nThe explorer has stopped. Runs continue; see `orl runs`.\n")
    assert [pid for pid in ids if _runs(pid)] == []


def test_a_server_that_has_ended_is_started_again(watcher: subprocess.Popen, tmp_path: Path) -> None:
    killed = next(iter(_ids(tmp_path)))
    os.kill(killed, signal.SIGKILL)
    _until(lambda: len(_ids(tmp_path)) == 3)
    watcher.send_signal(signal.SIGINT)
    said = watcher.communicate(timeout=20)[1]
    assert "has ended (signal 9). It starts again in 1 s." in said
    assert watcher.returncode == 130


def test_servers_do_not_outlive_a_killed_watcher(watcher: subprocess.Popen, tmp_path: Path) -> None:
    watcher.kill()
    watcher.wait(20)
    _until(lambda: not any(_runs(pid) for pid in _ids(tmp_path)))


def test_a_server_that_cannot_start_is_tried_less_and_less_often() -> None:
    now = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes.time, "monotonic", lambda: now)
        server = processes.Server("on port 1", [PYTHON, "-c", "raise SystemExit(3)"], {**os.environ})
        starts = []
        for _ in range(7):
            server.process.wait(20)
            began = now
            first = server.process.pid
            while server.process.pid == first:
                server.look()
                now += 0.5
            starts.append(now - 0.5 - began)
        server.process.wait(20)
    assert starts == [1.0, 2.0, 5.0, 10.0, 30.0, 30.0, 30.0]


SERVE = ["python", "-P", "-m", "orl_explorer.app.server", "run", "server.py", "--server.address=0.0.0.0"]
WATCH = ["python", "-P", "-m", "orl_explorer.app.server.processes", "2", "8501", *SERVE]


@pytest.mark.parametrize(
    ("command", "addresses"),
    [
        ([*SERVE, "--server.port=8501"], ["http://127.0.0.1:8501/_stcore/health"]),
        (
            [*SERVE[:-1], "--server.address=::", "--server.port=8501", "--server.sslCertFile=/chain.pem"],
            ["https://[::1]:8501/_stcore/health"],
        ),
        (WATCH, ["http://127.0.0.1:8501/_stcore/health", "http://127.0.0.1:8502/_stcore/health"]),
        (["python", "/usr/local/bin/orl", "mine", "--dataset", "explore"], []),
        (["python", "-m", "orl_explorer", "explore"], []),
    ],
)
def test_the_health_check_reads_the_addresses_of_servers(command: Sequence[str], addresses: list[str]) -> None:
    assert health.addresses_of(command) == addresses


@pytest.mark.parametrize(
    ("commands", "code", "said"),
    [
        ([["/sbin/docker-init", "--", "orl", "mine"], ["python", "/usr/local/bin/orl", "mine"]], 0, "healthy\n"),
        ([["python", "/usr/local/bin/orl", "explore"]], 1, "The explorer has not started its server yet.\n"),
        ([["python", "/usr/local/bin/orl", "mine", "--name", "explore"]], 0, "healthy\n"),
        ([[*SERVE, "--server.port=1"]], 1, "http://127.0.0.1:1/_stcore/health: <urlopen error [Errno 111] "),
    ],
)
def test_a_container_is_healthy_as_long_as_its_explorer_answers(
    commands: list[list[str]],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(health, "running", lambda: iter(commands))
    assert health.main() == code
    assert capsys.readouterr().out.startswith(said)
