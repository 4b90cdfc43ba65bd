"""The Results page: its plots, and the page with and without evaluations."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from orl_explorer.app.pages.train.result_plots import Drawn, plot_of
from orl_explorer.app.pages.train.results import _numbers
from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import Encoder, Evaluation, Run
from orl_explorer.db.runs.evaluations import Evaluated, keep_evaluation
from orl_explorer.db.runs.runs import add_run
from orl_explorer.train.evaluate.compared import ResultColumn, headings
from orl_explorer.train.evaluate.protocols import evaluate_preset
from orl_explorer.train.workspace import Workspace

PAGE = """
from orl_explorer.app.server.pictures import workspace
from orl_explorer.app.pages.train.results import results_panel
results_panel(workspace())
"""
FOUND: dict[str, tuple[dict, dict, dict]] = {  # params, summary, values
    "voc07-svm": (
        {"seed": 0},
        {"map": 0.7, "notes": []},
        {"ap": {"cat": 0.9, "dog": 0.5}, "ap_low": {"cat": 0.8, "dog": 0.4}, "ap_high": {"cat": 0.95, "dog": 0.7}},
    ),
    "voc07-lowshot": (
        {"seed": 0},
        {"clean_map": 0.5, "notes": ["clean: told."]},
        {
            "clean_mean": {"1": 0.4, "2": 0.6},
            "clean_std": {"1": 0.1, "2": 0.05},
            "reference_mean": {"1": 0.5, "2": 0.7},
            "reference_std": {"1": 0.1, "2": 0.05},
        },
    ),
    "linear": ({"seed": 0}, {"top1": 0.3, "notes": []}, {"top1": {"1": 0.1, "2": 0.3}, "top5": {"1": 0.2, "2": 0.4}}),
    "semi": (
        evaluate_preset("semi", "small").model_dump(mode="json") | {"rates": [0.01, 0.1], "head_multipliers": [1, 10]},
        {"top1": 0.4, "notes": []},
        {"top1": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}, "top5": {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8}},
    ),
    "knn": ({"seed": 0}, {"accuracy": 0.6, "notes": []}, {"accuracy": {"1": 0.5, "20": 0.6}}),
    "correspondence": (
        {"seed": 0},
        {"same_class": 0.2, "notes": []},
        {"measure": {"same_class": 0.2}, "by_chance": {"same_class": 0.01}},
    ),
    "something-new": ({"seed": 0}, {"box_ap": 0.2}, {"box_ap": {"all": 0.2, "small": 0.1}}),
}


def drawn(protocol: str) -> list[Drawn]:
    params, summary, values = FOUND[protocol]
    row = Evaluation(id=1, run_id=1, encoder_id=1, protocol=protocol, data="/x", params=params, summary=summary)
    return [Drawn(Evaluated(row, Encoder(name=name)), values) for name in ("one", "<b>two</b>")]


def test_classes_are_dots_with_their_intervals_in_percent() -> None:
    made = plot_of("voc07-svm", drawn("voc07-svm"))
    assert made is not None
    assert list(made.layout.yaxis.ticktext) == ["dog", "cat"]  # the best on top
    dots = made.data[0]
    assert list(dots.x) == [90, 50]
    assert list(dots.error_x.array) == pytest.approx([5, 20])
    assert list(dots.error_x.arrayminus) == pytest.approx([10, 10])
    assert made.data[0].y[0] != made.data[1].y[0]  # encoders do not lie on one another
    assert made.data[1].name == "&lt;b&gt;two&lt;/b&gt;"


def test_names_of_classes_and_encoders_are_only_names() -> None:
    given = drawn("voc07-svm")
    values = {name: {"<b>cat": value["cat"]} for name, value in given[0].values.items()}
    made = plot_of("voc07-svm", [Drawn(given[0].found, values)])
    assert made is not None
    assert made.data[0].customdata[0][0] == "&lt;b&gt;cat"
    for each, name in zip(given, ("number", "of"), strict=True):
        encoder = each.found.encoder
        encoder.name, encoder.kind, encoder.architecture, encoder.supervised = name, "starter", "net", False
    table = _numbers(given)
    assert table["number"].tolist() == ["map", "ap", "ap", "ap low", "ap low", "ap high", "ap high"]
    assert table["of"].tolist()[:3] == ["", "cat", "dog"]
    assert table.columns.tolist() == ["number", "of", "number (net, starter)", "of (net, starter)"]


def test_low_shot_curves_have_deviations_and_both_ways() -> None:
    made = plot_of("voc07-lowshot", drawn("voc07-lowshot"))
    assert made is not None
    assert [trace.name for trace in made.data[:2]] == ["one · clean", "one · reference"]
    assert list(made.data[0].x) == [1, 2]
    assert list(made.data[0].y) == [40, 60]
    assert list(made.data[0].error_y.array) == [10, 5]
    assert made.data[1].line.dash == "dot"


def test_a_grid_has_a_row_for_each_rate() -> None:
    made = plot_of("semi", drawn("semi"))
    assert made is not None
    assert [list(row) for row in made.data[0].z] == [[10, 20], [30, 40]]
    assert list(made.data[0].x) == ["× 1", "× 10"]
    assert list(made.data[0].y) == ["0.01", "0.1"]


@pytest.mark.parametrize("protocol", FOUND)
def test_every_protocol_has_a_plot_with_every_encoder(protocol: str) -> None:
    made = plot_of(protocol, drawn(protocol))
    assert made is not None
    assert len(made.data) % 2 == 0
    assert plot_of(protocol, [Drawn(each.found, {}) for each in drawn(protocol)]) is None


def page() -> AppTest:
    return AppTest.from_string(PAGE, default_timeout=60).run()


def test_without_evaluations_the_page_says_how_to_make_one(nowhere: Workspace) -> None:
    at = page()
    assert not at.exception
    assert at.info[0].value.startswith("No evaluations yet. Evaluate an encoder.")
    assert at.code[0].value == "orl evaluate knn --encoder starter --data VOCdevkit"
    assert "`voc07-lowshot`" in at.markdown[0].value
    next(b for b in at.button if b.label == "Evaluate an encoder").click().run()
    assert (at.query_params["view"], at.query_params["stage"]) == ("launch", "evaluate")


def test_encoders_and_protocols_are_a_table_and_the_url_names_a_plot(nowhere: Workspace) -> None:
    weights = {"weights_sha256": "x", "weights_path": "x", "image_features": 8, "roi_features": 8}
    row = Encoder(name="starter", architecture="efficientnet_lite0", kind="starter", supervised=True, **weights)
    encoder = add_encoder(nowhere.store, row).id
    for protocol, (params, summary, values) in FOUND.items():
        run = add_run(nowhere.store, Run(kind="evaluate", name="x", params={})).id
        found = Evaluation(
            run_id=run, encoder_id=encoder, protocol=protocol, data="/data/voc", params=params, summary=summary
        )
        keep_evaluation(nowhere.store, found, values)
    at = page()
    assert not at.exception
    table = at.dataframe[0].value
    assert table["encoder"].tolist() == ["starter (efficientnet_lite0, supervised)"]
    assert table["voc07-svm · voc"].tolist() == [70.0]
    assert at.selectbox[0].value == "voc07-svm · voc"
    for name in at.selectbox[0].options:
        at.selectbox[0].set_value(name).run()
        assert not at.exception
    linked = AppTest.from_string(PAGE, default_timeout=60)
    grid = "semi · voc · small · rates 0.01,0.1"
    linked.query_params["result"] = grid
    assert linked.run().selectbox[0].value == grid


def test_a_heading_says_first_what_tells_columns_apart() -> None:
    learnt = ("train_split train", "test_split val")
    found = [
        ResultColumn("1", "voc07-svm", "/data/VOC2007", learnt, []),
        ResultColumn("2", "voc07-svm", "/data/VOC2007", (*learnt, "crop_size 64"), []),
        ResultColumn("3", "knn", "/data/VOC2007", learnt, []),
        ResultColumn("4", "knn", "/other/VOC2007", learnt, []),
    ]
    assert headings(found) == [
        "voc07-svm · VOC2007",
        "voc07-svm · crop_size 64 · VOC2007",
        "knn · VOC2007",
        "knn · VOC2007 (2)",
    ]
    assert found[1].label == "voc07-svm · VOC2007 · train_split train · test_split val · crop_size 64"
