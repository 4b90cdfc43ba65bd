"""Shell completion of names in the workspace and of choices, through environment variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow

RUN = "import sys; sys.argv[0] = 'orl'; from orl_explorer.app.cli import main; main()"


def completed(line: str, **more: str) -> list[str]:
    """Return bash's completions of the last word of a line."""
    words = line.split(" ")
    asked = {"_ORL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    environment = os.environ | asked | more
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split()


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
        ("orl pretrain --method s", ["simclr"]),
    ],
)
def test_names_and_choices_are_completed(mined_workspace: Workspace, line: str, offered: list[str]) -> None:
    assert completed(line, ORL_WORKSPACE=str(mined_workspace.path)) == offered


def test_the_workspace_of_the_line_is_the_one_that_is_asked(mined_workspace: Workspace, tmp_path: Path) -> None:
    line = f"orl mine --workspace {mined_workspace.path} --dataset "
    assert completed(line, ORL_WORKSPACE=str(tmp_path)) == ["demo"]


def test_a_workspace_that_is_not_there_has_no_names_and_is_not_made(tmp_path: Path) -> None:
    assert completed("orl mine --dataset ", ORL_WORKSPACE=str(tmp_path / "w")) == []
    assert not (tmp_path / "w").exists()


def test_completion_can_be_installed() -> None:
    done = subprocess.run([sys.executable, "-c", RUN, "--help"], capture_output=True, text=True, timeout=60)
    assert "--install-completion" in done.stdout
