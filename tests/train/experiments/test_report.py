"""The tables and the figures of a reproduction match its runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.runs.runs import add_metrics, add_run
from orl_explorer.train.encoders import weights
from orl_explorer.train.evaluate.scores import Estimate, Scores
from orl_explorer.train.experiments.report import (
    COLUMNS,
    SHOWN,
    Ahead,
    ReproduceReport,
    Row,
    by_epoch,
    draw_ahead,
    draw_loss,
    draw_report,
    draw_results,
)
from orl_explorer.train.experiments.reproduce import MeasuredEncoder
from orl_explorer.train.workspace import Workspace
from tests.conftest import NewRun

SHARES = dict.fromkeys(COLUMNS, 0.125)
NUMBERS = {"map": 0.5, "map_low": 0.45, "map_high": 0.56, "map_views": 0.4, "knn": 0.3, "same_class": 0.2}
NUMBERS |= {"same_class_chance": 0.1, "attention": 0.4, "attention_chance": 0.25}
LABELS = np.array([[1], [-1], [1], [-1]])
PERFECT, LAST = [4.0, 1.0, 3.0, 2.0], [1.0, 4.0, 2.0, 3.0]  # average precision 1 and 0.5


@pytest.fixture
def scored(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Runs that kept scores: ``perfect`` and ``last``."""
    runs = {
        name: add_run(workspace.store, Run(kind="evaluate", name="x", params={})).id for name in ("perfect", "last")
    }
    kept = {"perfect": PERFECT, "last": LAST}
    folders = {workspace.run_folder(runs[name]): Scores(["cat"], np.array([kept[name]]).T, LABELS) for name in runs}
    monkeypatch.setattr(Scores, "kept_in", folders.__getitem__)
    return runs


def measured(method: str, seed: int, value: float, run: int, **more: object) -> MeasuredEncoder:
    numbers = SHARES | {"map": value, "map_views": value / 2}
    return MeasuredEncoder(
        method, method.upper(), seed, f"{method}-{seed}", numbers, svm_run=run, views_run=run, **more
    )  # type: ignore[arg-type]


def test_the_tables_have_means_over_seeds_and_differences_of_the_same_seeds(
    workspace: Workspace, scored: dict[str, int]
) -> None:
    perfect, last = scored["perfect"], scored["last"]
    against = {"byol": "photos seen", "byol-as-long": "operations"}  # the second is not measured yet
    report = ReproduceReport(
        workspace,
        [
            measured("byol", 0, 0.5, last),
            measured("orl", 0, 1.0, perfect, against=against),
            measured("byol", 1, 0.5, last),
            measured("orl", 1, 0.5, last, against=against),
            measured("orl", 2, 1.0, perfect, against=against),  # BYOL has no seed 2 yet
        ],
    )
    byol, orl = report.rows
    assert (byol.title, byol.encoder, byol.seeds, byol.numbers["map"]) == ("BYOL", "byol-0", 2, 0.5)
    assert (orl.seeds, orl.numbers["map"], orl.numbers["map_views"]) == (3, pytest.approx(5 / 6), pytest.approx(5 / 12))
    (found,) = report.ahead
    assert (found.one, found.other, found.equal, found.seeds) == ("ORL", "BYOL", "photos seen", 2)
    assert found.by.value == found.by_views.value == 0.25  # half a point for seed 0, none for seed 1
    assert found.by.low <= 0.25 <= found.by.high
    lines = report.markdown().splitlines()
    assert lines[0].startswith("| method | seeds | VOC07 SVM mAP | … at the side of the views | k-NN | ")
    assert lines[1] == "|---|---|---|---|---|---|---|---|---|---|---|---|"
    assert lines[3].startswith("| ORL | 3 | 83.3 (")
    assert lines[3].endswith("| 12.5 | 12.5 | 12.5 | 12.5 | 12.5 | 12.5 | 12.5 |  |")
    assert lines[5] == "| mAP of | ahead of | equal | seeds | at 224 px | at the side of the views |"
    assert lines[7].startswith("| ORL | BYOL | photos seen | 2 | +25.0 (")
    folder = report.save()
    assert (folder / "table.md").read_text() == report.markdown()
    kept = json.loads((folder / "table.json").read_text())
    assert kept["rows"][1]["numbers"]["knn"] == 0.125
    assert kept["ahead"][0]["by"]["value"] == 0.25


def trained(workspace: Workspace, new_run: NewRun, method: str, title: str, losses: list[float]) -> Row:
    """Return a row whose encoder was trained for two epochs of two steps."""
    run_id = new_run(workspace, "pretrain", method, config={"epochs": 2})
    add_metrics(workspace.store, run_id, [(step, "loss", v) for step, v in enumerate(losses, 1)])
    add_metrics(workspace.store, run_id, [(step, "feature_spread", v / 10) for step, v in enumerate(losses, 1)])
    row = Encoder(name=method, architecture="resnet18", kind="stage1", supervised=False, weights_sha256=method)
    row.weights_path, row.image_features, row.roi_features, row.run_id = "gone", 512, 512, run_id
    add_encoder(workspace.store, row)
    return Row(method, title, method, 1, NUMBERS | {"images_per_second": 30.0})


def test_a_metric_is_averaged_over_the_steps_of_each_epoch(workspace: Workspace, new_run: NewRun) -> None:
    trained(workspace, new_run, "byol", "BYOL", [4.0, 3.0, 2.0, 1.0])
    assert by_epoch(workspace, "byol", "loss").tolist() == [3.5, 1.5]
    assert by_epoch(workspace, "byol", "feature_spread").tolist() == pytest.approx([0.35, 0.15])


def test_curves_are_relative_to_the_first_epoch_and_leave_out_what_was_not_trained(
    workspace: Workspace, new_run: NewRun
) -> None:
    rows = [
        Row("random", "random weights", "random", 1, NUMBERS),
        trained(workspace, new_run, "byol", "BYOL", [4.0, 3.0, 2.0, 1.5]),
        trained(workspace, new_run, "orl-again", "ORL, second round", [8.0, 8.0, 4.0, 4.0]),
    ]
    loss, spread = draw_loss(workspace, rows).axes
    assert [line.get_label() for line in loss.lines] == ["BYOL", "ORL, second round"]
    assert [list(line.get_ydata()) for line in loss.lines] == [[1, 0.5], [1, 0.5]]
    assert [list(line.get_ydata()) for line in spread.lines] == [
        pytest.approx([0.35, 0.175]),
        pytest.approx([0.8, 0.4]),
    ]
    assert [line.get_linestyle() for line in loss.lines] == ["--", "-"]  # stage 1, stage 3


def test_a_panel_has_a_point_an_interval_or_chance_for_each_method() -> None:
    rows = [Row("random", "random weights", "r", 3, NUMBERS), Row("orl", "ORL", "o", 3, NUMBERS | {"map": 0.6})]
    panels = draw_results(rows).axes
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["random weights", "ORL"]
    assert list(panels[0].lines[0].get_xdata()) == [50, 60]
    ends = [segment[:, 0].tolist() for segment in panels[0].collections[0].get_segments()]  # type: ignore[attr-defined]
    assert ends == [pytest.approx([45, 56])] * 2
    assert [list(line.get_xdata()) for line in panels[3].lines] == [[20, 20], [10, 10]]
    assert len(panels[2].lines) == 1  # k-NN has neither


def test_a_difference_is_drawn_with_its_interval_at_both_sides_of_crops() -> None:
    found = [Ahead("ORL", "BYOL", "photos seen", 3, Estimate(0.02, -0.01, 0.05), Estimate(0.01, 0.0, 0.02))]
    at_224, at_views = draw_ahead(found).axes
    assert [label.get_text() for label in at_224.get_yticklabels()] == ["ORL\n− BYOL (equal photos seen)"]
    assert [list(axes.lines[1].get_xdata()) for axes in (at_224, at_views)] == [[2], [1]]
    assert at_224.collections[0].get_segments()[0][:, 0].tolist() == pytest.approx([-1, 5])  # type: ignore[attr-defined]


def test_attention_is_drawn_of_each_orl_after_its_base() -> None:
    assert SHOWN == ("random", "byol", "orl", "simclr", "orl-simclr", "moco", "orl-moco", "orl-again")


def test_the_files_are_written(photographed: Workspace, tmp_path: Path) -> None:
    weights.add(photographed, "random:resnet18", "random")
    report = ReproduceReport(photographed, [])
    report.rows = [Row("random", "random weights", "random", 1, NUMBERS)]
    report.ahead = [Ahead("A", "B", "photos seen", 1, Estimate(0.0, -0.1, 0.1), Estimate(0.0, -0.1, 0.1))]
    written = draw_report(photographed, report, "demo", tmp_path)
    assert [path.name for path in written] == ["results.png", "ahead.png", "curves.png", "attention.png"]
    for path in written:
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
