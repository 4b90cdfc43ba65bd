"""Commands started in a folder whose files have the names of our modules, of libraries and of Python's modules."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

OTHERS = ("orl_explorer", "streamlit", "torch", "numpy", "random", "socket", "queue")
NAMES = ("train", "app", "db", "orl", "tests", *OTHERS)
ORL = Path(sys.executable).with_name("orl")
OURS = ("ORL_WORKSPACE", "PYTHONPATH", "PYTHONSAFEPATH")
LITTLE = "--preset small --set epochs=1 --set batch_size=4 --set image_size=32 --set hidden=16"

OPTIONS = "[server]\ncorsAllowedOrigins = ['http://elsewhere.example']\n"  # of Streamlit

Orl = Callable[..., str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of another project. Each of its files leaves a mark when it runs."""
    made = tmp_path_factory.mktemp("foreign") / "project"
    made.mkdir()
    for name in NAMES:
        (made / f"{name}.py").write_text("import os\nos.close(os.open(__file__ + '.ran', os.O_CREAT))\n")
    (made / ".streamlit").mkdir()
    (made / ".streamlit" / "config.toml").write_text(OPTIONS)
    (made / ".numba_config.yaml").write_text("cache_dir: planted\n")  # numba runs the code that it finds there
    return made


def started(folder: Path, *words: str | Path) -> subprocess.Popen:
    """Start the installed command in that folder."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([ORL, *words], cwd=folder, env=environment, **said)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def orl(folder: Path) -> Orl:
    """Run the command and return its output."""

    def call(*words: str | Path) -> str:
        process = started(folder, *words)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert not list(folder.glob("*.ran")), said
        assert not (folder / "planted").exists(), said
        return str(said)

    return call


@pytest.fixture(scope="module")
def mined(orl: Orl, folder: Path, scenes: Path) -> Path:
    """The workspace of that folder, with a set and an encoder in it."""
    orl("ingest", scenes, "--name", "demo")
    orl("encoders", "add", "random:resnet18", "--name", "chance")
    little = ("--neighbors", "3", "--max-rois", "4", "--proposal-scale", "0.5", "--workers", "2")
    orl("mine", "--dataset", "demo", "--encoder", "chance", "--name", "set", *little)
    return folder / "workspace"


@pytest.mark.parametrize(
    "command",
    [
        f"pretrain --dataset demo --name byol --processes 2 {LITTLE} --set workers=1",
        "evaluate correspondence --encoder chance --data demo --set queries=4 --set proposals=annotations",
    ],
    ids=lambda command: command.split()[0],
)
def test_a_run_is_ours_whatever_lies_in_the_folder(mined: Path, orl: Orl, command: str) -> None:
    orl(*command.split())
    assert "crashed" not in orl("runs", "list")


def test_the_demo_is_composed_by_ours(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    process = started(folder, "demo", "--workspace", place)
    try:
        wait_for(lambda: len(list(place.glob(".demo.*/images/*.jpg"))) > 2, process)
    finally:
        process.terminate()
        process.wait(30)
    assert not list(folder.glob("*.ran"))


def test_the_explorer_is_ours(mined: Path, folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = started(folder, "explore", "--port", str(port))

    origin = {"Origin": "http://elsewhere.example"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/_stcore/health", headers=origin)

    def answers() -> bool:
        try:
            return urllib.request.urlopen(asked, timeout=2).headers["Access-Control-Allow-Origin"] is None
        except OSError:
            return False

    try:
        wait_for(answers, process)
    finally:
        process.terminate()
        process.wait(30)
    assert not list(folder.glob("*.ran"))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.2)
