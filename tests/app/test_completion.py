"""Shell completion of names in the workspace and of choices, through environment variables."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.app.cli import main
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow

Completed = Callable[..., list[str]]
RUN = "import sys; sys.argv[0] = 'orl'; from orl_explorer.app.cli import main; main()"


def asked(line: str) -> dict[str, str]:
    """Return the environment in which bash asks for the completions of the last word of a line."""
    words = line.split(" ")
    return {"_ORL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}


@pytest.fixture
def completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Completed:
    """Return a function that completes a line in this process: each start of the command would take two seconds."""

    def complete(line: str, **more: str) -> list[str]:
        for name, value in (asked(line) | more).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["orl"])
        with pytest.raises(SystemExit):
            main()
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out.split()

    return complete


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("orl mine --dataset ", ["demo"]),
        ("orl mine --encoder st", ["starter"]),
        ("orl mine --encoder x", []),
        ("orl train --correspondence ", ["demo-starter"]),
        ("orl sets show d", ["demo-starter"]),
        ("orl evaluate knn --encoder ", ["starter"]),
        ("orl export-encoder ", ["starter"]),
        ("orl mine --preset ", ["paper", "object"]),
        ("orl mine --fallback i", ["image"]),
        ("orl evaluate voc", ["voc07-svm", "voc07-lowshot"]),
        ("orl pretrain --method s", ["simclr", "selfemd"]),
    ],
)
def test_names_and_choices_are_completed(
    mined_workspace: Workspace, completed: Completed, line: str, offered: list[str]
) -> None:
    assert completed(line, ORL_WORKSPACE=str(mined_workspace.path)) == offered


def test_the_workspace_of_the_line_is_the_one_that_is_asked(
    mined_workspace: Workspace, completed: Completed, tmp_path: Path
) -> None:
    line = f"orl mine --workspace {mined_workspace.path} --dataset "
    assert completed(line, ORL_WORKSPACE=str(tmp_path)) == ["demo"]


def test_a_workspace_that_is_not_there_has_no_names_and_is_not_made(completed: Completed, tmp_path: Path) -> None:
    assert completed("orl mine --dataset ", ORL_WORKSPACE=str(tmp_path / "w")) == []
    assert not (tmp_path / "w").exists()


def test_the_command_itself_completes(mined_workspace: Workspace) -> None:
    environment = os.environ | asked("orl sets show d") | {"ORL_WORKSPACE": str(mined_workspace.path)}
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["demo-starter"], "")


def test_completion_can_be_installed() -> None:
    done = subprocess.run([sys.executable, "-c", RUN, "--help"], capture_output=True, text=True, timeout=60)
    assert "--install-completion" in done.stdout
