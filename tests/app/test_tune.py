"""The Tune page: the values of its controls, its numbers of the sample, and missing data."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer import tuning
from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.explorer.preview import PreviewSubject, box_features, encoder_features
from orl_explorer.app.explorer.tuning import Numbers, Tuner, tuner
from orl_explorer.app.pages.tune import regenerate
from orl_explorer.app.pages.tune.grid import HeatGrid, heat_map
from orl_explorer.app.pages.tune.measures import OBJECTS, PAIRS, REGIONS
from orl_explorer.app.pages.tune.numbers import histogram
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.runs import add_run, update_run
from orl_explorer.db.sets.read import complete_set_named, set_rows_of
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import words
from tests.conftest import MINED, NewRun
from tests.named import mine


def shown(encoder: str = "starter") -> PreviewSubject:
    """The data of the page under test, in the workspace that the server has open."""
    store = workspace().store
    mined = complete_set_named(store, "demo-starter")
    return PreviewSubject(workspace(), mined, dataset_named(store, "demo"), encoder_named(store, encoder))


@pytest.fixture
def subject(here: Workspace) -> PreviewSubject:
    return shown()


def slid(at: AppTest) -> dict[str, float]:
    """Values of the sliders by the setting's URL parameter."""
    return {re.split("-", s.key)[1]: s.value for s in at.slider}


def cell(at: AppTest, measure: str) -> list[str]:
    """Return a measure's row in the table: now, of the set, their difference, and by chance."""
    table = next(h.proto.body for h in at.get("html") if 'class="tuned"' in h.proto.body)
    row = next(row for row in table.split("<tr>") if f'data-measure="{measure}"' in row)
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_without_changes_the_page_says_of_the_sample_what_the_set_does(here: Workspace, show: Show) -> None:
    at = show("tune")
    assert not at.exception
    assert "on 12 of the 12 photos" in words(at)
    kept = complete_set_named(here.store, "demo-starter")
    pairs = f"{kept.pair_count / 12:.1f}"
    assert cell(at, "pairs_per_image") == [pairs, pairs, "±0", ""]
    assert cell(at, "rois")[0] == f"{kept.candidate_count / 12:.1f}"
    assert kept.quality is not None
    share = f"{100 * kept.quality['same_class']:.1f} %"
    assert cell(at, "same_class") == [share, share, "±0", f"{100 * kept.quality['same_class_chance']:.1f} %"]


def test_a_setting_in_the_url_changes_the_numbers_to_those_of_mining_so(
    here: Workspace, show: Show, new_run: NewRun
) -> None:
    at = show("tune", k="2", n="0.4", size="130", sim="0.2")
    config = MINED.model_copy(update={"neighbors": 2, "pair_ratio": 0.4, "min_size": 130, "min_similarity": 0.2})
    assert "K 2 \\(4\\) · N 0\\.4 \\(0\\.1\\) · min size 130 \\(96\\)" in words(at)
    mine(here, "demo", "starter", "so", config, run_id=new_run(here, "mine", "so"), workers=1)
    made, old = complete_set_named(here.store, "so"), complete_set_named(here.store, "demo-starter")
    at = show("tune", set="demo-starter", k="2", n="0.4", size="130", sim="0.2")
    assert not at.exception
    now, before, difference, _ = cell(at, "pairs_per_image")
    assert (now, before) == (f"{made.pair_count / 12:.1f}", f"{old.pair_count / 12:.1f}")
    assert difference == f"{(made.pair_count - old.pair_count) / 12:+.1f}".replace("-", "−")


def test_values_out_of_range_are_brought_back_and_nonsense_is_the_sets_own(here: Workspace, show: Show) -> None:
    at = show("tune", k="900", n="abc", size="-5", iou="nan", ranked="luck", fall="image", sample="7", seed="-3")
    assert not at.exception
    found = slid(at)
    assert (found["k"], found["n"], found["size"], found["iou"]) == (11, 0.1, 16, 0.5)  # 12 photos have 11 others
    assert "ranked by" not in words(at).split("Preset")[0]
    assert "fallback image \\(first\\)" in words(at)
    assert "on 12 of the 12 photos" in words(at)  # 24 queries, as ever


def test_a_preset_is_loaded_with_one_click_and_so_are_the_sets_own_values(here: Workspace, show: Show) -> None:
    at = show("tune", n="0.3")
    at.button(key="tune-preset-object").click().run()
    assert not at.exception
    found, preset = slid(at), MINE_PRESETS["object"]
    assert (found["rois"], found["iou"], found["obj"]) == (preset.max_rois, preset.max_iou, preset.object_weight)
    assert found["k"] == 10
    assert "**Preset object**: none" in words(at)
    at.button(key="tune-preset-paper").click().run()
    assert slid(at)["n"] == 0.1
    at.button(key="tune-preset-the set's own").click().run()
    assert "**The set**: none" in words(at)
    assert slid(at)["k"] == 4


def test_rois_without_a_feature_are_counted_and_can_be_embedded_now(here: Workspace, show: Show) -> None:
    at = show("tune", size="60", k="2", sample="12")
    found = re.search(r"\*\*([\d,]+) of ([\d,]+) RoIs\*\* of the sample have no feature", words(at))
    assert found is not None
    button = at.button(key="tune-start-numbers")
    assert button.label == f"Embed {found[1]} RoIs now"
    before = cell(at, "pairs_per_image")
    button.click().run()
    work = tuner(shown(), 12, 0).work_for("numbers")
    assert work is not None
    work.wait()
    assert work.error is None
    at.run()
    assert not at.exception
    assert "have no feature" not in words(at)
    assert cell(at, "pairs_per_image") != before


def test_what_needs_maps_offers_to_make_them(here: Workspace, show: Show) -> None:
    at = show("tune", obj="0.5", k="1")
    assert not at.exception
    assert at.button(key="tune-start-numbers").label.startswith("Map ")


def test_raw_boxes_that_are_not_there_are_searched_on_the_spot(here: Workspace, show: Show) -> None:
    at = show("tune", scale="1", sample="12")
    assert not at.exception
    assert at.info[0].value == (
        "Not tried yet: proposal scale 1 \\(0\\.5\\). Search the photos to try it. The numbers below are for the "
        "values in brackets."
    )
    assert "Selective search with these settings has not run on 12 photos" in words(at)
    at.button(key="tune-start-search").click().run()
    work = tuner(shown(), 12, 0).work_for("search")
    assert work is not None
    work.wait()
    assert work.error is None
    at.run()
    assert not at.exception
    assert not at.info
    assert "has not run" not in words(at)
    assert "have no feature yet" in words(at)


def test_raw_boxes_of_another_precision_wait_for_regenerate(here: Workspace, show: Show) -> None:
    at = show("tune", props="annotations")
    assert not at.exception
    assert not at.info  # annotated boxes are there, so they are tried at once
    at = show("tune", prec="bf16")
    assert at.info[0].value == (
        "Only on Regenerate: precision bf16 \\(fp32\\). The numbers below are for the values in brackets."
    )


def test_two_settings_that_are_not_tried_each_say_what_it_would_take(here: Workspace, show: Show) -> None:
    at = show("tune", first="25", prec="bf16")
    assert not at.exception
    assert at.info[0].value == (
        "Not tried yet: first regions 25 \\(100\\). Search the photos to try it. Only on Regenerate: precision bf16 "
        "\\(fp32\\). The numbers below are for the values in brackets."
    )


def test_imported_boxes_that_some_photos_lack_are_neither_tried_nor_searched(here: Workspace, show: Show) -> None:
    with here.store.session() as session:
        some = "SELECT image_id, 'imported:mine', boxes FROM proposal ORDER BY image_id LIMIT 1"
        session.execute(text(f"INSERT INTO proposal (image_id, method, boxes) {some}"))
    at = show("tune", props="mine")
    assert not at.exception
    assert at.info[0].value == (
        "Not tried yet: proposals mine \\(search\\). Some photos of the sample have no such raw boxes. The numbers "
        "below are for the values in brackets."
    )


def test_without_its_raw_boxes_a_set_cannot_be_tried(here: Workspace, show: Show) -> None:
    with here.store.session() as session:
        session.execute(text("DELETE FROM proposal"))
    at = show("tune", n="0.2")
    assert not at.exception
    assert "so other settings cannot be tried" in at.warning[0].value


def test_a_set_whose_encoder_is_gone_says_so(here: Workspace, show: Show) -> None:
    with here.store.session() as session:
        session.connection().exec_driver_sql("PRAGMA foreign_keys=OFF")
        session.execute(text("UPDATE correspondence_set SET encoder_id = 99"))
    at = show("tune")
    assert not at.exception
    assert "The encoder of 'demo-starter' was deleted".replace("-", "\\-") in at.error[0].value


def test_an_empty_workspace_and_an_unmined_data_set_say_what_to_do(
    nowhere: Workspace, show: Show, scenes: Path
) -> None:
    assert [b.label for b in show("tune").button][:2] == ["Build the demo", "Add photos"]
    ingest(nowhere, scenes, name="mine")
    at = show("tune")
    assert not at.exception
    assert "No encoder yet" in words(at)


def test_a_server_that_only_shows_regenerates_nothing(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Regenerate …" in [b.label for b in show("tune").button]
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("tune", n="0.2")
    assert not at.exception
    assert "Regenerate …" not in [b.label for b in at.button]
    run = add_run(here.store, Run(kind="mine", name="other", params={}))
    assert "Stop run" not in [b.label for b in show("tune", mining=str(run.id)).button]


def test_a_run_is_followed_and_leads_to_its_set(here: Workspace, show: Show) -> None:
    run = add_run(here.store, Run(kind="mine", name="other", params={}))
    update_run(here.store, run.id, status="running", phase="Embedding RoIs", progress=30, total=120)
    at = show("tune", mining=str(run.id))
    assert not at.exception
    assert "Stop run" in [b.label for b in at.button]
    update_run(here.store, run.id, status="failed", error="The disk is full.")
    at = show("tune", mining=str(run.id))
    assert "The disk is full" in words(at)
    assert "Resume run" in [b.label for b in at.button]
    update_run(here.store, run.id, status="done", error=None)
    at = show("tune", mining=str(run.id), n="0.3")
    assert "Show the new set" in [b.label for b in at.button]
    at.button(key="tune-close").click().run()
    assert "Show the new set" not in [b.label for b in at.button]


def test_the_cost_is_told_from_the_sample(subject: PreviewSubject) -> None:
    own, config = tuner(subject, 12, 0), MINED.model_copy(update={"min_size": 60})
    told = regenerate._cost(subject, own, config)
    new = own.unstored(config)
    assert new > 0
    assert f"embedding of about {new:,} RoIs" in told  # the sample is the whole set
    assert "for 12 photos" in told
    assert "no embedding" in regenerate._cost(subject, own, MINED)
    full = regenerate._cost(subject, own, MINED.model_copy(update={"proposal_scale": 1.0}))
    assert full.startswith("Selective search on 12 photos")
    assert "if all RoIs are new" in full
    assert "attention" not in told
    ranked = regenerate._cost(subject, own, MINED.model_copy(update={"ranked_by": "objectness"}))
    assert "; attention maps of 12 photos; " in ranked


def test_an_encoder_whose_weights_are_added_later_is_opened_anew(here: Workspace) -> None:
    path = encoder_named(here.store, "starter").weights_path
    be = text("UPDATE encoder SET kind = :kind, name = :name, weights_path = :path WHERE id = 1")
    with workspace().store.session() as session:  # as a set that was imported brings it along
        session.execute(be, {"kind": "vectors", "name": "lent", "path": ""})
    before = shown("lent")
    assert box_features(before).embedded == 0
    assert (encoder_features(before.workspace, 1).name, tuner(before, 4, 0).subject.encoder.name) == ("lent", "lent")
    with workspace().store.session() as session:
        session.execute(be, {"kind": "starter", "name": "starter", "path": path})
    after = shown("starter")
    assert encoder_features(after.workspace, 1).name == "starter"
    assert encoder_features(after.workspace, 1).weights()
    assert tuner(after, 4, 0).subject.encoder.name == "starter"
    assert box_features(after) is not box_features(before)


def test_photos_without_a_kept_box_are_counted_for_the_saved_set_too(
    subject: PreviewSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workspace().store.session() as session:
        session.execute(text("UPDATE set_image SET fallback = true WHERE image_id IN (3, 5)"))
    monkeypatch.setattr(Tuner, "proposed", lambda *_: False)  # so that no filter tells it
    numbers = Tuner(subject, np.array([2, 3, 4, 5])).saved[1]
    assert numbers.counts["fallback"] == 2
    assert numbers.value("fallback") == 0.5
    rows = set_rows_of(workspace().store, 1, [2, 3, 4, 5])
    assert numbers.counts["kept"] == sum(row.candidate_count for row in rows.values()) - 2


def test_cells_are_kept_and_found_again(subject: PreviewSubject) -> None:
    own = tuner(subject, 3, 1)
    configs = [MINED.model_copy(update={"pair_ratio": ratio}) for ratio in (0.1, 0.3)]
    assert own.cell(configs[0]) is None
    own.start("grid", own.sweep(configs))
    work = own.work_for("grid")
    assert work is not None
    work.wait()
    assert (work.done, work.total, work.error) == (2, 2, None)
    assert [own.cell(c) for c in configs] == [own.numbers(c) for c in configs]
    small = MINED.model_copy(update={"min_size": 80, "neighbors": 1})
    own.sweep([small])(Progress())
    assert own.cell(small) is not None
    own.prepare([small])(Progress())
    assert own.cell(small) is None  # what it left out is there now


def test_a_query_alone_has_its_best_pair_with_each_neighbour(subject: PreviewSubject) -> None:
    from orl_explorer.db.sets.read import pairs_of

    one = tuning.tuner_of(subject, 3)
    assert one is not None
    best = one.best(MINED)
    firsts = [p for p in pairs_of(subject.workspace.store, subject.mined.id, 3) if p.rank == 1]
    shown = [(p.rank, tuple(p.query_box.tolist()), tuple(p.key_box.tolist()), p.similarity) for p in best.pairs]
    assert shown == [(p.neighbor_rank, p.query_box, p.key_box, pytest.approx(p.similarity)) for p in firsts]
    assert tuning.tuner_of(subject, 999) is None


def test_the_histogram_shows_what_the_threshold_cuts_off_in_grey(subject: PreviewSubject) -> None:
    own, config = tuner(subject, 12, 0), MINED.model_copy(update={"min_similarity": 0.75})
    found, (mined, _) = own.find(config), own.saved
    figure = histogram(found, mined, config)
    kept, cut, before = (sum(trace.y) for trace in figure.data)
    assert (kept, cut, before) == (len(found.mined.similarity), len(found.cut), len(mined.similarity))
    assert kept + cut == before  # without objectness, a threshold only takes pairs away
    assert min(found.mined.similarity) >= 0.75 > max(found.cut)
    assert figure.layout.shapes[0].x0 == 0.75
    assert [trace.name for trace in figure.data] == ["now", "below the threshold", "saved set"]


@pytest.mark.parametrize(
    ("least", "bins", "low"), [(-1.0, 100, -1.0), (0.4, 30, 0.4), (0.9375, 32, 0.936), (0.9999, 1, 0.999)]
)
def test_the_histograms_bins_are_as_wide_as_similarities_lie_apart(
    subject: PreviewSubject, least: float, bins: int, low: float
) -> None:
    own = tuner(subject, 12, 0)
    found, (mined, _) = own.find(MINED), own.saved
    similarity = np.full(len(mined.similarity), least, np.float32)
    flat = replace(mined, similarity=similarity)
    figure = histogram(replace(found, mined=flat), flat, MINED)
    now, line = figure.data
    assert (len(now.x), sum(now.y)) == (bins, len(similarity))
    assert figure.layout.xaxis.range == pytest.approx((low, 1), abs=1e-6)
    assert (line.y[0], line.y[1], line.y[-1]) == (0, now.y[0], 0)


def numbers(cycle: float, missing: int = 0) -> Numbers:
    counts = {"kept": 8, "fallback": 0, "raw": 40}
    return Numbers(2, counts, 9, missing, {"cycle": cycle, "pairs_per_image": 3.0}, (0, 0))


def test_a_heat_map_has_its_numbers_in_its_cells_and_frames_the_one_that_is_set() -> None:
    found = [numbers(0.5), None, numbers(0.25, 3), numbers(1)]
    grid = HeatGrid("pair_ratio", "neighbors", ["0.1", "0.2"], ["4", "8"], found)
    figure = heat_map(grid, PAIRS[4], MineConfig(neighbors=4, pair_ratio=0.2))
    heat, marks = figure.data
    assert np.array_equal(heat.z, [[50, np.nan], [25, 100]], equal_nan=True)
    assert list(marks.text) == ["50.0 %", "25.0 %*", "100.0 %"]
    assert list(marks.customdata) == [0, 2, 3]
    assert (list(marks.x), list(marks.y)) == (["4", "4", "8"], ["0.1", "0.2", "0.2"])
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (-0.5, 0.5, 0.5, 1.5)
    assert heat.colorbar.title.text == "Cycle, %"


@pytest.mark.parametrize(
    ("measure", "value", "other", "written", "difference"),
    [
        (PAIRS[4], 0.5, 0.25, "50.0 %", "+25.0 points"),
        (PAIRS[4], 0.5, 0.50001, "50.0 %", "±0"),
        (PAIRS[2], 0.5, 0.625, "0.500", "−0.125"),
        (REGIONS[0], 1643.5, 1600, "1,644", "+43.5"),
        (REGIONS[5], 29.75, None, "29.8", ""),
        (OBJECTS[0], None, 0.5, "–", ""),
    ],
)
def test_how_numbers_are_written(measure, value, other, written: str, difference: str) -> None:  # type: ignore[no-untyped-def]
    assert (measure.written(value), measure.difference(value, other)) == (written, difference)


def test_the_heat_map_refuses_what_it_cannot_show(here: Workspace, show: Show) -> None:
    for query, sentence in (
        ({"x": "min_size", "xs": "tall, 3"}, "Use numbers separated by commas"),
        ({"x": "max_iou", "xs": "0.5, 7"}, "Invalid value for max_iou: 7"),
        ({"xs": ",".join(map(str, range(1, 12))), "ys": "0.1,0.2,0.3,0.4,0.5,0.6,0.7"}, "Invalid number of cells: 77"),
        ({"xs": "40"}, "Too many neighbours"),
    ):
        at = show("tune", **query)
        assert not at.exception
        assert sentence in at.error[0].value.replace("\\", ""), query
    at = show("tune", x="luck", y="luck", m="luck")
    assert not at.exception and not at.error
    assert at.button(key="tune-sweep").label == "Try 12 combinations"  # 20 neighbours are more than there are


def test_too_many_cells_are_refused_before_they_are_made(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr("orl_explorer.app.pages.tune.grid.combinations", lambda *given: made.append(given) or [])
    many = ",".join(map(str, range(1, 1001)))
    at = show("tune", xs=many, ys=many)
    assert not at.exception
    assert "Invalid number of cells: 1000000. Use 1 to 64." in at.error[0].value.replace("\\", "")
    assert made == []


def test_trying_them_draws_the_heat_map(here: Workspace, show: Show) -> None:
    at = show("tune", xs="2,4", ys="0.1,0.3", m="cycle")
    at.button(key="tune-sweep").click().run()
    work = tuner(shown(), 24, 0).work_for("grid")
    assert work is not None
    work.wait()
    at.run()
    assert not at.exception
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    (marks,) = [trace for chart in charts for trace in chart["data"] if trace.get("customdata")]
    assert len(marks["text"]) == 4
    assert marks["text"][2] != marks["text"][0]


@pytest.mark.parametrize("page", ["tune", "pair"])
def test_more_neighbours_than_the_set_has_are_a_sentence_where_features_are_gone(
    here: Workspace, show: Show, page: str
) -> None:
    shutil.rmtree(here.embeddings)
    at = show(page, k="6", q="1")
    assert not at.exception
    assert any("12 of 12 features are not in" in error.value for error in at.error)
    assert all("Mine with this encoder" in error.value for error in at.error)
