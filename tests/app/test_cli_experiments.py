"""``orl attention``, ``orl sweep-train`` and ``orl reproduce``: their output, and errors with exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from orl_explorer.app.cli import app, experiments
from orl_explorer.db.store import StoreError
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import protocol_named
from orl_explorer.train.evaluate.scores import Estimate
from orl_explorer.train.experiments import grid
from orl_explorer.train.experiments.attention_figure import attention_figure
from orl_explorer.train.experiments.grid import Trained
from orl_explorer.train.workspace import Workspace


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 96 x 64."""
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (96, 64), (10, 120, 200)).save(path)
    return path


def refusal(*words: str | Path) -> str:
    """Return the error message, which ``app.cli.main`` prints before it exits with code 2."""
    with pytest.raises((UserError, StoreError)) as refused:
        app([str(word) for word in words], standalone_mode=False)
    return str(refused.value)


def test_a_figure_of_attention_is_written(workspace: Workspace, photo: Path, tmp_path: Path) -> None:
    weights.add(workspace, "random:resnet18", "one")
    weights.add(workspace, "random:resnet34", "two")
    file = tmp_path / "maps.svg"
    drawn = []
    for named in (["--encoder", "one", "--encoder", "two"], ["--encoders", "one", "two"]):
        words = ["attention", photo, photo, *named, "--map", "cosine", "--out", file]
        done = CliRunner().invoke(app, [*map(str, words), "--workspace", str(workspace.path)])
        assert done.exit_code == 0, done.output
        assert "2 photos, 2 encoders." in " ".join(done.output.split())
        drawn.append(file.read_bytes())
        file.unlink()
    assert drawn[0].startswith(b"<?xml")
    assert drawn[0] == drawn[1]


def test_a_figure_of_nothing_known_is_refused(workspace: Workspace, photo: Path, tmp_path: Path) -> None:
    asked = ["attention", photo, "--encoder", "none", "--workspace", workspace.path, "--out"]
    assert refusal(*asked, tmp_path / "maps.bmp").endswith("maps.bmp. Use .png, .svg or .pdf as its ending.")
    assert refusal(*asked, tmp_path / "maps.png").startswith("There is no encoder 'none'.")
    with pytest.raises(UserError, match="There is no map 'x'. Known maps: activation"):
        attention_figure(workspace, [photo], ["none"], "x")  # type: ignore[arg-type]
    assert not (tmp_path / "maps.png").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Give either --correspondence SET, or both --dataset NAME and --encoder NAME."),
        (["--dataset", "d"], "Give either --correspondence SET"),
        (["--correspondence", "s", "--dataset", "d", "--encoder", "e"], "Give either --correspondence SET"),
        (["--correspondence", "s", "--out", "x.doc"], "x.doc must end in .csv, .json for the table or"),
        (["--correspondence", "s", "--protocol-preset", "x"], "There is no preset 'x'. Known presets: paper."),
        (["--correspondence", "s", "--protocol", "knn"], "nowhere"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(workspace: Workspace, options: list[str], sentence: str) -> None:
    asked = ["sweep-train", "--grid", "seed=0,1", "--data", "nowhere", "--workspace", workspace.path]
    assert sentence in refusal(*asked, *options)


def test_a_reproduction_needs_photos_and_known_names(workspace: Workspace, tmp_path: Path) -> None:
    asked = ["reproduce", tmp_path, "--workspace", workspace.path]
    assert "has no VOC2007" in refusal(*asked)
    assert refusal(*asked, "--methods", "byol,dino").startswith("There is no method 'dino'. Known methods: byol, ")
    no_preset = refusal(*asked, "--epochs", "1", "--pairs", "starter:x")
    assert no_preset.startswith("There is no preset 'x'. Known presets: paper, object")


def test_means_over_seeds_are_compared_with_the_first_row_where_scores_are_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [("0", "0", 0.5), ("0", "1", 0.25), ("1", "0", 0.75), ("1", "1", 0.5)]
    found = [Trained({"inter_weight": w, "seed": s}, "set", "e", n, {"map": v}) for n, (w, s, v) in enumerate(cells)]

    def said(cells: list[Trained]) -> str:
        experiments._show_grid(workspace, cells, ["inter_weight", "seed"], protocol_named("voc07-svm"))
        return " ".join(capsys.readouterr().out.split())

    monkeypatch.setattr(grid, "ahead_of_first", lambda *_: [Estimate(0.25, 0.125, 0.5)])
    assert "│ 1 │ 62.5 │ 50.0 │ 75.0 │ +25.0 (+12.5 to +50.0) │" in said(found)
    assert "ahead of the first row" not in said(found[:2])  # nothing to compare

    def gone(*_: object) -> list[Estimate]:
        raise UserError("The scores are gone.")

    monkeypatch.setattr(grid, "ahead_of_first", gone)
    shown = said(found)
    assert "│ 1 │ 62.5 │ 50.0 │ 75.0 │" in shown
    assert shown.endswith("The scores are gone.")
