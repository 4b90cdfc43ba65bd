"""The table and the figures of a reproduction match its runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.runs.runs import add_metrics, add_run
from orl_explorer.train.encoders import weights
from orl_explorer.train.evaluate.scores import Scores
from orl_explorer.train.experiments.report import (
    COLUMNS,
    as_markdown,
    by_epoch,
    compared_rows,
    draw_loss,
    draw_report,
    report_folder,
    save_report,
)
from orl_explorer.train.experiments.reproduce import SECOND, Row
from orl_explorer.train.workspace import Workspace
from tests.conftest import NewRun

MEASURED = {"map": 0.5, "map_low": 0.45, "map_high": 0.56, "knn": 0.3, "same_class": 0.2, "attention": 0.4}
CHANCE = {"same_class_chance": 0.1, "attention_chance": 0.25}


def test_the_table_has_a_row_for_each_method(workspace: Workspace) -> None:
    shares = dict.fromkeys(COLUMNS, 0.125) | {"map": 0.5, "map_low": 0.45, "map_high": 0.553}
    rows = [Row("random weights", "r", shares), Row("ORL", "o", shares | {"images_per_second": 12.34})]
    table = as_markdown(rows).splitlines()
    assert table[0].startswith("| method | VOC07 SVM mAP | … ahead of BYOL | k-NN | ")
    assert table[1] == "|---|---|---|---|---|---|---|---|---|---|---|"
    assert table[2] == "| random weights | 50.0 (45.0–55.3) |  | 12.5 | 12.5 | 12.5 | 12.5 | 12.5 | 12.5 | 12.5 |  |"
    assert table[3].endswith("| 12.5 | 12.3 |")
    folder = save_report(workspace, rows)
    assert (folder / "table.md").read_text().splitlines() == table
    assert json.loads((folder / "table.json").read_text())[1]["images_per_second"] == 12.34


FILL = dict.fromkeys(COLUMNS, 0.5)  # all that a row has


def trained(workspace: Workspace, new_run: NewRun, method: str, losses: list[float]) -> Row:
    """Return a row whose encoder was trained for two epochs of two steps."""
    run_id = new_run(workspace, "pretrain", method, config={"epochs": 2})
    add_metrics(workspace.store, run_id, [(step, "loss", v) for step, v in enumerate(losses, 1)])
    add_metrics(workspace.store, run_id, [(step, "feature_spread", v / 10) for step, v in enumerate(losses, 1)])
    row = Encoder(name=method, architecture="resnet18", kind="stage1", supervised=False, weights_sha256=method)
    row.weights_path, row.image_features, row.roi_features, row.run_id = "gone", 512, 512, run_id
    add_encoder(workspace.store, row)
    return Row(method, method, MEASURED | CHANCE | {"images_per_second": 30.0})


def test_a_metric_is_averaged_over_the_steps_of_each_epoch(workspace: Workspace, new_run: NewRun) -> None:
    trained(workspace, new_run, "BYOL", [4.0, 3.0, 2.0, 1.0])
    assert by_epoch(workspace, "BYOL", "loss").tolist() == [3.5, 1.5]
    assert by_epoch(workspace, "BYOL", "feature_spread").tolist() == pytest.approx([0.35, 0.15])


def test_curves_are_relative_to_the_first_epoch_and_leave_out_what_was_not_trained(
    workspace: Workspace, new_run: NewRun
) -> None:
    rows = [
        Row("random weights", "random", MEASURED | CHANCE),
        trained(workspace, new_run, "BYOL", [4.0, 3.0, 2.0, 1.5]),
        trained(workspace, new_run, SECOND, [8.0, 8.0, 4.0, 4.0]),
    ]
    loss, spread = draw_loss(workspace, rows).axes
    assert [line.get_label() for line in loss.lines] == ["BYOL", SECOND]
    assert [list(line.get_ydata()) for line in loss.lines] == [[1, 0.5], [1, 0.5]]
    assert [list(line.get_ydata()) for line in spread.lines] == [
        pytest.approx([0.35, 0.175]),
        pytest.approx([0.8, 0.4]),
    ]
    assert [line.get_linestyle() for line in loss.lines] == ["--", "-"]  # stage 1, stage 3


def test_a_panel_has_a_point_an_interval_or_chance_for_each_method() -> None:
    rows = [Row("random weights", "r", MEASURED | CHANCE), Row("ORL", "o", MEASURED | CHANCE | {"map": 0.6})]
    panels = report_folder(rows).axes
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["random weights", "ORL"]
    assert list(panels[0].lines[0].get_xdata()) == [50, 60]
    ends = [segment[:, 0].tolist() for segment in panels[0].collections[0].get_segments()]  # type: ignore[attr-defined]
    assert ends == [pytest.approx([45, 56])] * 2
    assert [list(line.get_xdata()) for line in panels[2].lines] == [[20, 20], [10, 10]]
    assert len(panels[1].lines) == 1  # k-NN has neither


def test_methods_are_set_against_byol_photo_by_photo(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array([[1], [-1], [1], [-1]])
    said = {1: [4.0, 1.0, 3.0, 2.0], 2: [1.0, 4.0, 2.0, 3.0]}  # average precision 1 and 0.5
    for _ in said:
        add_run(workspace.store, Run(kind="evaluate", name="x", params={}))
    folders = {workspace.run_folder(run): Scores(["cat"], np.array([said[run]]).T, labels) for run in said}
    monkeypatch.setattr(Scores, "kept_in", folders.__getitem__)
    rows = compared_rows(workspace, [Row("SimCLR", "s", MEASURED, 1), Row("BYOL", "b", MEASURED, 2)])
    assert rows[0].numbers["ahead"] == 0.5
    assert rows[0].numbers["ahead_low"] <= 0.5 <= rows[0].numbers["ahead_high"]
    assert rows[1].numbers == MEASURED
    whole = [replace(row, numbers=FILL | row.numbers) for row in rows]
    first, second = (line.split(" | ") for line in as_markdown(whole).splitlines()[2:])
    assert first[2].startswith("+50.0 (")
    assert second[2] == ""
    without = [Row("ORL", "o", MEASURED, 1)]
    assert compared_rows(workspace, without) == without


def test_three_files_are_written(photographed: Workspace, tmp_path: Path) -> None:
    weights.add(photographed, "random:resnet18", "random")
    written = draw_report(photographed, [Row("random weights", "random", MEASURED | CHANCE)], "demo", tmp_path)
    assert [path.name for path in written] == ["results.png", "curves.png", "attention.png"]
    for path in written:
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
