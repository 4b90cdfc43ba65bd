"""Commands that a signal ends, or whose output nobody reads: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orl_explorer.db.photos import datasets
from orl_explorer.db.runs.runs import runs
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.workspace import open_workspace
from tests.browser.conftest import free_port

pytestmark = pytest.mark.slow
# The delays count from the moment when the command's own code begins: Python itself has started.
ORL = "import sys; sys.argv[0] = 'orl'; from orl_explorer.__main__ import main; print('begun', flush=True); main()"


def begun(*arguments: object) -> subprocess.Popen[str]:
    """Start a command in a group of its own, as a terminal does."""
    command = [sys.executable, "-c", ORL, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=_heed
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def _heed() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the tests themselves may run in the background


def interrupted(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Signal the group of a command. Return the exit code, the output and the errors."""
    os.killpg(process.pid, number)
    said, errors = process.communicate(timeout=60)
    assert "Traceback" not in said + errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nothing is left of its group
    return process.returncode, said, errors.strip()


@pytest.mark.parametrize("delay", [0.05, 0.3, 0.8])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_first_second_ends_a_command_with_one_sentence(
    tmp_path: Path, delay: float, number: int, code: int
) -> None:
    process = begun("demo", "--workspace", tmp_path / "w")
    time.sleep(delay)
    given, _, errors = interrupted(process, number)
    assert given == code
    assert errors in (
        "Interrupted before the command began. Nothing was changed.",
        "Interrupted. Finished parts are kept. Run `orl demo` again to continue.",
    )


def test_an_interrupted_ingest_is_continued(scenes: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for copy in range(80):
        for photo in (scenes / "images").iterdir():
            (many / f"{copy}-{photo.name}").hardlink_to(photo)
    process = begun("ingest", many, "--workspace", tmp_path / "w")
    while not (tmp_path / "w/orl.sqlite").is_file():
        time.sleep(0.01)
    time.sleep(0.3)
    code, _, errors = interrupted(process)
    assert (code, errors) == (
        130,
        "Interrupted. Photos that are in the store are kept. Run the command again to continue.",
    )
    opened = open_workspace(tmp_path / "w")
    ingest(opened, many)
    assert [d.image_count for d in datasets(opened.store)] == [960]


def test_an_interrupted_training_is_stopped_and_says_how_to_go_on(scenes: Path, tmp_path: Path) -> None:
    opened = open_workspace(tmp_path / "w")
    ingest(opened, scenes, name="demo")
    little = ["--set", "batch_size=4", "--set", "epochs=5000", "--set", "image_size=32"]
    process = begun("pretrain", "--dataset", "demo", "--preset", "small", *little, "--workspace", tmp_path / "w")
    while not (started := runs(opened.store)) or started[0].status != "running":
        time.sleep(0.05)
    code, said, errors = interrupted(process)
    assert (code, errors) == (130, "")
    assert "Stopping run 1 …\nRun 1 was stopped. Resume it with `orl runs resume 1`." in said
    assert [run.status for run in runs(opened.store)] == ["cancelled"]


@pytest.mark.parametrize(("delay", "number", "code"), [(2.0, signal.SIGINT, 130), (0.2, signal.SIGTERM, 143)])
def test_the_explorer_ends_with_one_sentence(tmp_path: Path, delay: float, number: int, code: int) -> None:
    process = begun("explore", "--port", free_port(), "--workspace", tmp_path / "w")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ORL Explorer: http://localhost:")
    time.sleep(0.5 + delay)  # the first half second: Python starts again
    given, _, errors = interrupted(process, number)
    assert (given, errors) == (code, "The explorer has stopped. Runs continue; see `orl runs`.")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which $ORL is the command."""
    values = os.environ | environment | {"ORL": f"{sys.executable} -m orl_explorer"}
    return subprocess.run(["bash", "-c", line], env=values, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("$ORL --help | true; exit ${PIPESTATUS[0]}", ""),
        (
            "$ORL runs --json --workspace $W >/dev/full",
            "Cannot write the output: no space left on device.",
        ),
        ("$ORL runs --workspace $W >/dev/full", "Cannot write the output: no space left on device."),
        ("$ORL runs --workspace $W >&-", ""),
        ("$ORL runs show 9 --workspace $W 2>&-", ""),
        ("$ORL runs --workspace $W >&- 2>&- <&-", ""),
    ],
)
def test_an_output_that_nobody_reads_is_no_traceback(tmp_path: Path, line: str, said: str) -> None:
    open_workspace(tmp_path / "w")
    done = shell(line, W=str(tmp_path / "w"))
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.strip() == said
