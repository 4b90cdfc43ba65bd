"""The content of each page, and its widgets."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer import preview
from orl_explorer.app.pages import shell
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.people.verdicts import judge, verdicts_of
from orl_explorer.db.photos import dataset_named, image_by_id, unite, usable_images
from orl_explorer.db.runs.runs import add_metrics, add_run, runs, update_run
from orl_explorer.db.sets.read import find_set, pairs_of, rois_of
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words
from tests.conftest import MINED, NewRun
from tests.named import mine


def test_explore_shows_every_photo_with_what_the_set_found(here: Workspace, show: Show) -> None:
    at = show("explore")
    assert not at.exception
    tiles = component(at)["tiles"]
    assert [t["name"] for t in tiles] == [f"scene-{i:03d}.jpg" for i in range(12)]
    assert all(t["badges"][1]["text"].endswith("pairs") for t in tiles)
    assert "12 photos" in words(at)
    assert "supervised" in words(at)


def test_explore_sorts_by_pairs(here: Workspace, show: Show) -> None:
    at = show("explore", sort="Pairs", desc="true")
    counts = [int(t["badges"][1]["text"].split()[0]) for t in component(at)["tiles"]]
    assert counts == sorted(counts, reverse=True)


def test_explore_finds_by_name_and_says_when_nothing_is_found(here: Workspace, show: Show) -> None:
    assert [t["name"] for t in component(show("explore", find="scene-01"))["tiles"]] == [
        "scene-010.jpg",
        "scene-011.jpg",
    ]
    at = show("explore", find="100%_nothing")
    assert not at.exception
    assert at.info[0].value == r"No photo has “100%\_nothing” in its name."


def test_an_unreadable_photo_has_a_tile_that_says_why(here: Workspace, show: Show) -> None:
    from orl_explorer.db.lost import Lost, mark_lost

    mark_lost(here.store, {4: Lost("unreadable", "image file is truncated")})
    at = show("explore")
    tile = component(at)["tiles"][3]
    assert tile["missing"]
    assert tile["note"].startswith("image file is truncated; noticed ")
    assert "1 unreadable" in words(at)


def test_an_empty_workspace_says_what_to_do(nowhere: Workspace, show: Show) -> None:
    for page in ("explore", "pair", "train"):
        at = show(page)
        assert not at.exception
        assert [b.label for b in at.button][:2] == ["Build the demo", "Add photos"]


def test_photos_are_added_from_the_page(nowhere: Workspace, scenes: Path, show: Show) -> None:
    at = show("explore")
    at.text_input[0].set_value(str(scenes))
    at.text_input[1].set_value("mine")
    at.button[1].click().run()
    at.button(key="add-these").click().run()
    assert not at.exception
    assert dataset_named(nowhere.store, "mine").image_count == 12
    assert "No encoder yet" in words(at)


def test_the_pair_page_draws_the_stored_pairs_of_the_set(here: Workspace, show: Show) -> None:
    at = show("pair", q="3", nn="2")
    assert not at.exception
    sent = component(at)
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    stored = [p for p in pairs_of(here.store, mined.id, 3) if p.neighbor_rank == 2]
    drawn = [
        (
            tuple(sent["query"]["boxes"][p["q"]]),
            tuple(sent["neighbor"]["boxes"][p["k"]]),
            round(p["similarity"], 5),
        )
        for p in sent["pairs"]
    ]
    assert drawn == [(p.query_box, p.key_box, round(p.similarity, 5)) for p in stored]
    assert sent["neighbor"]["rank"] == 2
    assert [n["rank"] for n in sent["neighbors"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["explore", "pair", "tune", "train"])
def test_a_link_that_names_a_set_alone_leads_to_its_data_set(
    here: Workspace, show: Show, new_run: NewRun, tmp_path: Path, name: str
) -> None:
    for colour in ("teal", "navy"):
        Image.new("RGB", (200, 150), colour).save(tmp_path / f"{colour}.png")
    ingest(here, tmp_path, name="newer")
    config = MINED.model_copy(update={"neighbors": 1})
    mine(here, "newer", "starter", "newest", config, run_id=new_run(here, "mine", "newest"), workers=1)
    assert picked(show(name)) == ["newer", "newest"]
    assert picked(show(name, set="demo-starter")) == ["demo", "demo-starter"]
    assert picked(show(name, set="demo-starter", data="newer")) == ["newer", "newest"]
    assert picked(show(name, set="gone")) == ["newer", "newest"]


def picked(at: AppTest) -> list[str]:
    """The dataset and the correspondence set that the sidebar names."""
    assert not at.exception
    return [str(box.value) for box in at.sidebar.selectbox[:2]]


@pytest.mark.parametrize(
    ("parameter", "value", "chip"),
    [
        ("k", "2", "K 2 (4)"),
        ("n", "0.3", "N 0.3 (0.1)"),
        ("iou", "0.7", "max IoU 0.7 (0.5)"),
        ("rois", "3", "max RoIs 3 (100)"),
        ("obj", "0.5", "objectness in pairs 0.5 (0)"),
        ("ranked", "objectness", "ranked by objectness (search)"),
    ],
)
def test_a_setting_in_the_url_changes_the_preview_and_is_named(
    here: Workspace, show: Show, parameter: str, value: str, chip: str
) -> None:
    at = show("pair", q="3", **{parameter: value})
    assert not at.exception
    assert at.info[0].value == f"Differs from the set: {chip}"
    if parameter == "k":
        assert len(component(at)["neighbors"]) == 2


def test_the_preview_of_objectness_is_what_mining_with_it_stores(here: Workspace, show: Show, new_run: NewRun) -> None:
    at = show("pair", q="3", nn="2", ranked="objectness", obj="0.7", rois="4", n="0.6")
    assert not at.exception
    previewed = component(at)
    config = MINED.model_copy(
        update={"ranked_by": "objectness", "object_weight": 0.7, "max_rois": 4, "pair_ratio": 0.6}
    )
    made = mine(here, "demo", "starter", "objects", config, run_id=new_run(here, "mine", "objects"), workers=1)
    assert previewed["query"]["boxes"] == rois_of(here.store, made.id, [3])[3].boxes.tolist()
    stored = [p for p in pairs_of(here.store, made.id, 3) if p.neighbor_rank == 2]
    boxes = [
        (tuple(previewed["query"]["boxes"][p["q"]]), tuple(previewed["neighbor"]["boxes"][p["k"]]))
        for p in previewed["pairs"]
    ]
    assert boxes == [(p.query_box, p.key_box) for p in stored]
    assert len(boxes) == 2
    again = show("pair", q="3", nn="2", set="objects")
    assert not again.info  # nothing differs from the set
    assert component(again)["pairs"] == previewed["pairs"]


def test_a_set_mined_in_bfloat16_is_previewed_with_its_own_features(
    here: Workspace, show: Show, new_run: NewRun
) -> None:
    config = MINED.model_copy(update={"precision": "bf16"})
    made = mine(here, "demo", "starter", "quick", config, run_id=new_run(here, "mine", "quick"), workers=1)
    at = show("pair", q="3", nn="2", set="quick")
    assert not at.exception
    assert not at.info
    shown = [p["similarity"] for p in component(at)["pairs"]]
    stored = [p.similarity for p in pairs_of(here.store, made.id, 3) if p.neighbor_rank == 2]
    exact = [p["similarity"] for p in component(show("pair", q="3", nn="2", set="demo-starter"))["pairs"]]
    assert shown == pytest.approx(stored, abs=1e-6)
    assert shown == pytest.approx(exact, abs=0.05)
    assert shown != pytest.approx(exact, abs=1e-6)
    assert (here.embeddings / "starter" / "bf16" / "rois-2.vectors").is_file()


def test_an_approximate_preview_says_how_far_it_agrees_with_the_set(here: Workspace, show: Show) -> None:
    at = show("pair", q="3", approx="true", size="60")
    assert not at.exception
    quick, exact = component(at), component(show("pair", q="3", approx="false", size="60"))
    assert quick["query"]["boxes"] == exact["query"]["boxes"]
    assert [p["similarity"] for p in quick["pairs"]] != [p["similarity"] for p in exact["pairs"]]
    (said,) = [c.value for c in at.caption if "Approximate" in c.value]
    total = len(component(show("pair", q="3", approx="false"))["pairs"])
    assert f" of the set's {total} pairs of these two photos." in said


def test_the_pairs_of_a_union_are_shown_for_the_photos_of_all_its_members(
    here: Workspace, scenes: Path, show: Show, new_run: NewRun
) -> None:
    ingest(here, scenes, name="other")
    whole = unite(here.store, ["demo", "other"])
    mine(here, whole.name, "starter", "both", MINED, run_id=new_run(here, "mine", "both"), workers=2)
    for image in list(usable_images(here.store, whole.id))[::12]:
        at = show("pair", q=str(image.id), data="demo+other", set="both")
        assert not at.exception
        assert not at.warning
        nearest = component(at)["neighbors"][0]
        assert nearest["similarity"] == pytest.approx(1)  # its twin in the other
        assert nearest["name"] == Path(image.path).name


@pytest.mark.parametrize("value", ["nan", "inf", "-5", "1e99", "ten", ""])
def test_a_senseless_setting_in_the_url_does_no_harm(here: Workspace, show: Show, value: str) -> None:
    at = show("pair", q="3", size=value, n=value, obj=value, ranked=value)
    assert not at.exception
    assert component(at)["pairs"]


def test_a_photo_of_another_data_set_offers_the_way_there(here: Workspace, scenes: Path, show: Show) -> None:
    other = ingest(here, scenes, name="other").dataset
    foreign = next(iter(usable_images(here.store, other.id))).id
    at = show("pair", q=str(foreign), data="demo", set="demo-starter")
    assert at.warning[0].value == "This photo belongs to another dataset, other."
    at.button[0].click().run()
    assert not at.exception
    assert at.session_state["data"] == "other"
    assert not at.warning


@pytest.mark.parametrize("query", ["99999", "-1", "abc", "999999999999999999"])
def test_an_unknown_photo_is_a_sentence(here: Workspace, show: Show, query: str) -> None:
    at = show("pair", q=query)
    assert not at.exception


def test_more_neighbours_than_the_set_has_come_from_the_stored_features(here: Workspace, show: Show) -> None:
    four = component(show("pair", q="3"))["neighbors"]
    eight = component(show("pair", q="3", k="8"))["neighbors"]
    assert [n["id"] for n in eight[:4]] == [n["id"] for n in four]
    similarities = [n["similarity"] for n in eight]
    assert len(eight) == 8
    assert similarities == sorted(similarities, reverse=True)


def test_the_preview_names_the_rule_that_rejected_a_box(here: Workspace) -> None:
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    subject = preview.PreviewSubject(
        here, mined, dataset_named(here.store, "demo"), encoder_named(here.store, "starter")
    )
    found = image_by_id(here.store, 3)
    assert found is not None
    [side] = preview.sides(subject, [found[0]], MineConfig(min_size=150))
    reasons = preview.explain(side)
    assert len(reasons) == len(side.raw) - len(side.boxes)
    assert {r.rule for r in reasons} <= {"size", "aspect", "overlap", "count"}
    small = next(r for r in reasons if r.rule == "size")
    assert min(small.box[2:]) < 150


def test_a_verdict_is_kept_and_can_be_taken_back(here: Workspace) -> None:
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    pair = pairs_of(here.store, mined.id, 3)[0]
    key_image = next(
        i for i, r in rois_of(here.store, mined.id, range(1, 13)).items() if list(pair.key_box) in r.boxes.tolist()
    )
    import numpy as np

    sides = (3, np.array(pair.query_box)), (key_image, np.array(pair.key_box))
    assert judge(here.store, *sides, "good", "ann")
    assert verdicts_of(here.store, 3, "ann") == {(pair.query_box, key_image, pair.key_box): "good"}
    assert verdicts_of(here.store, 3, "bob") == {}
    assert judge(here.store, *sides, "wrong", "ann")
    assert list(verdicts_of(here.store, 3, "ann").values()) == ["wrong"]
    assert judge(here.store, *sides, None, "ann")
    assert verdicts_of(here.store, 3, "ann") == {}
    assert not judge(here.store, (3, np.array([0, 0, 1, 1])), sides[1], "good", "ann")


def test_the_train_page_tells_the_cost_and_refuses_what_cannot_work(here: Workspace, show: Show) -> None:
    at = show("train")
    assert not at.exception
    assert "The batch size is larger than the dataset." in words(at)
    at.button("launch").click().run()
    assert "A batch of 64 photos is too large" in at.error[0].value
    assert runs(here.store, ["queued", "running"]) == []
    at.number_input("batch_size-orl-small").set_value(4).run()
    assert "300 steps" in words(at)


def test_the_paper_preset_fills_the_form_with_the_published_constants(here: Workspace, show: Show) -> None:
    at = show("train", preset="paper")
    assert at.number_input("epochs-orl-paper").value == 800
    assert at.number_input("batch_size-orl-paper").value == 512
    assert at.number_input("patch_size-orl-paper").value == 96
    assert at.selectbox("backbone-orl-paper").value == "resnet50"


def test_a_failed_run_shows_its_sentence_its_curves_and_its_log(here: Workspace, show: Show) -> None:
    params = {"correspondence": "demo-starter", "config": {"batch_size": 4}}
    run = add_run(here.store, Run(kind="train", name="tried", params=params))
    here.run_folder(run.id).mkdir(parents=True)
    (here.path / run.log_path).write_text("12:00:00  <b>bold</b> step\n")
    add_metrics(here.store, run.id, [(1, "loss", 12.0), (1, "learning_rate", 0.1), (1, "images_per_second", 9.0)])
    update_run(here.store, run.id, status="failed", error="The disk is full. Free some space.", exit_code=1)
    at = show("train", run=str(run.id))
    assert not at.exception
    assert "The disk is full" in at.error[0].value
    assert at.code[0].value == "12:00:00  <b>bold</b> step"
    assert [m.value for m in at.metric][:2] == ["12.000", "1.00e-01"]
    assert "Resume run" in [b.label for b in at.button]


@pytest.mark.parametrize(
    ("line", "code"), [("orl quality trip", "`orl quality trip`"), ("orl quality 'a`b'", "`` orl quality 'a`b' ``")]
)
def test_a_line_of_code_may_hold_backticks(line: str, code: str) -> None:
    assert shell.code(line) == code


def several_pages(*names: str) -> AppTest:
    """Return a script with pages as the explorer's own, of which the first one is open."""
    lines = [f"from orl_explorer.app.pages.{name}.page import page as {name}" for name in names]
    pages = ", ".join(f"'{name}': st.Page({name}, url_path='{name}')" for name in names)
    lines += ["import streamlit as st", f"pages = {{{pages}}}", "st.session_state['pages'] = pages"]
    lines += ["st.navigation(list(pages.values())).run()"]
    return AppTest.from_string("\n".join(lines), default_timeout=60)


def test_a_set_without_pairs_leads_to_its_settings(here: Workspace) -> None:
    with here.store.session() as session:
        session.connection().exec_driver_sql("UPDATE correspondence_set SET pair_count = 0 WHERE name = 'demo-starter'")
    at = several_pages("matches", "tune")
    at.query_params["set"] = "demo-starter"
    at.run()
    (tune,) = [button for button in at.button if button.label == "Tune settings"]
    tune.click().run()
    assert not at.exception
    assert [title.value for title in at.title] == ["Tune"]
    assert at.selectbox(key="set").value == "demo-starter"


def test_another_dataset_is_opened_with_its_newest_set(here: Workspace, new_run: NewRun) -> None:
    config = MINED.model_copy(update={"neighbors": 1})
    mine(here, "demo", "starter", "second", config, run_id=new_run(here, "mine", "second"), workers=1)
    script = """
import streamlit as st
from orl_explorer.app.pages import shell
shell.pick()
st.button("Open", on_click=shell.pick_dataset, args=("demo",))
"""
    at = AppTest.from_string(script, default_timeout=60)
    at.query_params["set"] = "demo-starter"
    at.run()
    assert at.selectbox(key="set").value == "demo-starter"
    at.button[-1].click().run()
    assert not at.exception
    assert at.selectbox(key="set").value == "second"
