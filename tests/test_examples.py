"""The examples run, from another folder, and say what they found."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import PIL.Image
import pytest
from nbclient import NotebookClient

from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def place(mined_workspace: Workspace, tmp_path: Path) -> Path:
    return shutil.copytree(mined_workspace.path, tmp_path / "workspace")


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runs_in_process: None
) -> Callable[..., str]:
    """Return a function that runs a script in the test's folder, with words, and returns what it printed."""

    def call(script: str, *words: str | Path) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", [script, *map(str, words)])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_every_example_is_tested_and_listed() -> None:
    named = {path.name for path in EXAMPLES.iterdir() if path.name not in ("README.md", "__pycache__")}
    assert named == {"match_two_photos.py", "mine_a_folder.py", "train_and_compare.py", "explore_a_set.ipynb"}
    listed = (EXAMPLES / "README.md").read_text()
    assert all(f"]({name})" in listed for name in named)


def test_two_photos_are_matched(run: Callable[..., str], scenes: Path, tmp_path: Path) -> None:
    photos = [scenes / "images" / f"scene-00{number}.jpg" for number in (0, 1)]
    said = run("match_two_photos.py", *photos)
    assert re.search(r"^\d+ and \d+ RoIs, \d+ pairs$", said, re.MULTILINE)
    assert PIL.Image.open(tmp_path / "pairs.png").width > 500


def test_a_folder_is_mined(run: Callable[..., str], scenes: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        shutil.copy(scenes / "images" / f"scene-{number:03d}.jpg", photos)
    said = run("mine_a_folder.py", photos, "--neighbors", "3", "--proposal-scale", "0.5")
    assert re.search(r"\d+ pairs of 6 photos\. Saved workspace/best-pairs\.png", said.replace(str(tmp_path) + "/", ""))
    assert (tmp_path / "workspace" / "best-pairs.png").is_file()


def test_a_training_is_compared_with_the_encoder_before(run: Callable[..., str], place: Path, tmp_path: Path) -> None:
    words = "--workspace", place, "--epochs", "1", "--batch-size", "4"
    said = run("train_and_compare.py", "demo-starter", *words)
    table = said[said.index("starter  demo-starter-orl") :].splitlines()
    assert [line.split()[0] for line in table[1:]] == [
        "cycle",
        "margin_p50",
        "roi_coverage",
        "query_is_object",
        "same_class",
    ]


def test_the_notebook_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_WORKSPACE", str(place))
    notebook = nbformat.read(EXAMPLES / "explore_a_set.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # kept without, so that a change is legible
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=os.fspath(EXAMPLES))
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not any("stderr" in output.get("name", "") for output in shown), shown
