"""The page Oddities with its parts and actions, `orl duplicates` and its download."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from orl_explorer.app.cli import app
from orl_explorer.app.explorer import duplicates
from orl_explorer.app.pages.oddities.photos import mark_or_keep
from orl_explorer.app.server.downloads import ROUTES, duplicates_url
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.gallery import order
from orl_explorer.db.models import CorrespondenceSet, Encoder, SetImage
from orl_explorer.db.people.kept_out import KEPT_OUT, kept_out
from orl_explorer.db.people.selections import selected_ids
from orl_explorer.db.people.tags import tags_of
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import complete_set_named, neighbor_ids_of
from orl_explorer.train.mining.duplicates import duplicates_csv, find_duplicates
from orl_explorer.train.mining.orders import make_matches
from orl_explorer.train.mining.quality import kept_measures
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words

ALIKE = 0.65  # of scenes of the demo, which are different pictures: three and two of them


@pytest.fixture(autouse=True)
def nothing_found() -> None:
    duplicates._found.cache_clear()


def test_the_command_lists_groups_and_writes_them(here: Workspace, tmp_path: Path) -> None:
    asked = ["duplicates", "--dataset", "demo", "--encoder", "starter", "--workspace", str(here.path)]
    said = CliRunner().invoke(app, [*asked, "--threshold", f"{ALIKE}"]).output
    groups = find_duplicates(here, dataset_named(here.store, "demo"), encoder_named(here.store, "starter"), ALIKE)
    assert f"2 groups of near-duplicates, 5 of 12 photos (cosine {ALIKE} or more)." in " ".join(said.split())
    listed = json.loads(CliRunner().invoke(app, [*asked, "--threshold", f"{ALIKE}", "--json"]).output)
    assert [row["path"] for row in listed] == [image.path for group in groups for image in group.photos]
    assert [row["keep"] for row in listed].count(True) == 2
    file = tmp_path / "near.csv"
    CliRunner().invoke(app, [*asked, "--threshold", f"{ALIKE}", "--to", str(file)])
    first, *rows = file.read_text().splitlines()
    assert first == "group,keep,path,width,height,objects,similarity,reason"
    assert len(rows) == 5
    assert "0 groups of near-duplicates, 0 of 12 photos" in CliRunner().invoke(app, [*asked, "--threshold", "1"]).output


def test_the_page_shows_groups_side_by_side(here: Workspace, show: Show) -> None:
    dataset, encoder = dataset_named(here.store, "demo"), encoder_named(here.store, "starter")
    groups = find_duplicates(here, dataset, encoder, ALIKE)
    at = show("oddities", t=f"{ALIKE}")
    assert not at.exception
    assert "**2 groups** of 5 photos, 41.7% of the dataset. One of each is enough, so 3 photos could go." in words(at)
    assert "**Group 1: 3 photos**" in words(at)
    html = " ".join(element.proto.body for element in at.get("html"))
    assert html.count("Keep: ") == 2
    assert all(Path(image.path).name in html for group in groups for image in group.photos)
    url = at.get("link_button")[0].proto.url
    assert url == duplicates_url(dataset.id, encoder.id, ALIKE)
    done = TestClient(Starlette(routes=ROUTES)).get(url)
    assert (done.status_code, done.text) == (200, duplicates_csv(groups))
    assert 'filename="demo-near-duplicates.csv"' in done.headers["content-disposition"]


def test_the_page_says_if_there_are_none_or_they_cannot_be_found(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [s.value for s in show("oddities", t="1").success] == ["No photos are nearly the same at this similarity."]
    monkeypatch.setattr(duplicates, "MOST", 11)
    monkeypatch.setattr("orl_explorer.app.pages.oddities.duplicates.MOST", 11)
    at = show("oddities")
    assert "This page compares at most 11 photos." in words(at)
    done = TestClient(Starlette(routes=ROUTES)).get(duplicates_url(1, 1, 0.95))
    assert (done.status_code, "at most 11 photos" in done.text) == (404, True)
    with here.store.session() as session:
        session.connection().exec_driver_sql("UPDATE image SET digest = digest + 1")
    assert "no encoder has features of all photos yet" in words(show("oddities"))


def test_the_download_refuses_a_lower_similarity_than_the_page(here: Workspace) -> None:
    client = TestClient(Starlette(routes=ROUTES))
    done = client.get("/api/duplicates/1/1/499")
    assert (done.status_code, done.text) == (
        404,
        "The explorer compares photos from a similarity of 0.5 on. Use a larger threshold.",
    )
    assert client.get("/api/duplicates/1/1/500").status_code == 200


def test_a_set_says_how_many_near_duplicates_it_skips(here: Workspace, show: Show) -> None:
    mined = complete_set_named(here.store, "demo-starter")
    assert "nobody's neighbour" not in words(show("sets"))
    write.note_duplicates(here.store, mined.id, 2, 3)
    told = "3 photos of 2 groups are nobody's neighbour, since the largest photo of each group stands for it."
    assert told in words(show("sets"))
    said = CliRunner().invoke(app, ["sets", "show", "demo-starter", "--workspace", str(here.path)]).output
    assert told in " ".join(said.split())


def tiles(at: AppTest) -> list[dict[str, Any]]:
    return component(at)["tiles"]


def test_hubs_come_first_with_their_number_of_lists(here: Workspace, show: Show) -> None:
    mined = complete_set_named(here.store, "demo-starter")
    times = Counter(i for near in neighbor_ids_of(here.store, mined.id, list(range(1, 13))).values() for i in near)
    at = show("oddities", part="hubs")
    assert not at.exception
    shown = tiles(at)
    assert [tile["id"] for tile in shown] == sorted(range(1, 13), key=lambda i: (-times[i], i))
    assert shown[0]["badges"][0]["text"] == f"in {times[shown[0]['id']]} lists"
    most = times.most_common(1)[0][1]
    assert f"The most frequent photo is a neighbour of **{most} of 12 photos**; the mean is" in words(at)
    hubness = kept_measures(mined)["image_hubness"]
    assert f"**Skewness {hubness:.2f}**" in words(at)


def test_photos_without_a_pair_are_listed_or_there_are_none(here: Workspace, show: Show) -> None:
    at = show("oddities", part="pairless")
    assert [s.value for s in at.success] == ["Every photo of this set has a pair."]
    with here.store.session() as session:
        session.execute(update(SetImage).where(SetImage.image_id.in_([4, 9])).values(pair_count=0))
    order._counts.cache_clear()
    order._sorted.cache_clear()
    order._gallery_ids.cache_clear()
    at = show("oddities", part="pairless")
    assert "**2 of 12 photos** have no pair." in words(at)
    assert [tile["id"] for tile in tiles(at)] == [4, 9]


def test_the_threshold_s_edge_is_the_least_similar_pairs(here: Workspace, show: Show) -> None:
    mined = complete_set_named(here.store, "demo-starter")
    found = make_matches(here, mined)
    at = show("oddities", part="edge")
    assert not at.exception
    cards = component(at)["cards"]
    assert [card["similarity"] for card in cards] == sorted(found.similarity.tolist())[:24]
    assert "This set has no minimum similarity. Its least similar pairs, from" in words(at)
    assert "Pairs and RoIs beyond a threshold are not stored, so they are not here." in words(at)
    with here.store.session() as session:
        session.execute(update(CorrespondenceSet).values(params=mined.params | {"min_similarity": 0.25}))
    assert "Pairs just above the set’s minimum similarity, **0.25**" in words(show("oddities", part="edge"))


def test_photos_are_kept_out_tagged_and_selected(here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orl_explorer.app.pages.explore.page.st.toast", lambda *_, **__: None)
    opened: list[dict[str, str]] = []
    monkeypatch.setattr("orl_explorer.app.pages.shell.open_page", lambda name, **asked: opened.append(asked))
    assert "No photo is kept out of mining." in words(show("oddities", part="out"))
    mark_or_keep("keep_out", [5, 3], "", 1)
    assert kept_out(here.store, 1).tolist() == [3, 5]
    at = show("oddities", part="out")
    assert "**2 photos** are kept out of mining." in words(at)
    assert [(tile["id"], tile["tags"]) for tile in tiles(at)] == [(3, [KEPT_OUT]), (5, [KEPT_OUT])]
    mark_or_keep("let_in", [3], "", 1)
    mark_or_keep("tag", [7], "odd", 1)
    assert (kept_out(here.store, 1).tolist(), tags_of(here.store, [3, 7])) == ([5], {7: ("odd",)})
    mark_or_keep("keep", [8, 2], "", 1)
    assert (selected_ids(here.store, 1).tolist(), opened) == ([2, 8], [{"selection": "1"}])
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    mark_or_keep("keep_out", [1], "", 1)
    mark_or_keep("keep", [1], "", 1)
    assert (kept_out(here.store, 1).tolist(), len(opened)) == ([5], 1)
    assert not component(show("oddities", part="out"))["can_mark"]


def test_all_but_one_photo_of_each_group_are_kept_out_by_a_click(here: Workspace, show: Show) -> None:
    groups = find_duplicates(here, dataset_named(here.store, "demo"), encoder_named(here.store, "starter"), ALIKE)
    others = sorted(photo.id for group in groups for photo in group.photos[1:])
    at = show("oddities", t=f"{ALIKE}")
    at.button(key="others-out-1").click().run()
    assert kept_out(here.store, 1).tolist() == sorted(photo.id for photo in groups[0].photos[1:])
    at.button(key="others-out-all").click().run()
    assert not at.exception
    assert kept_out(here.store, 1).tolist() == others
    assert " ".join(element.proto.body for element in at.get("html")).count("kept out of mining") == 3
    at.text_input(key="others-tag-all").set_value("twice").run()
    at.button(key="others-tag-button-all").click().run()
    assert set(tags_of(here.store, others).values()) == {(KEPT_OUT, "twice")}


def test_the_encoder_of_the_set_is_the_first_choice(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_set = encoder_named(here.store, "starter")
    newer = Encoder(id=of_set.id + 1, name="newer")
    monkeypatch.setattr("orl_explorer.app.pages.oddities.duplicates.encoders_with_features", lambda *_: [newer, of_set])
    at = show("oddities", t=f"{ALIKE}")
    assert "**2 groups** of 5 photos" in words(at)
    assert at.segmented_control(key="pick-e").value == "starter"


def test_another_threshold_leads_to_the_first_page(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.app.pages.oddities.duplicates.PER_PAGE", 1)
    at = show("oddities", t=f"{ALIKE}", group="2")
    assert "**Group 2: 2 photos**" in words(at)
    at.slider(key="duplicates-threshold").set_value(0.64).run()
    assert not at.exception
    assert "**Group 1: " in words(at)


@pytest.mark.parametrize("value", ["", "-1", "x", "99999999999999999999"])
def test_senseless_parts_and_pages_do_no_harm(here: Workspace, show: Show, value: str) -> None:
    assert not show("oddities", part=value, t=value, group=value).exception
    for part, page in (("hubs", "hub"), ("edge", "edge"), ("out", "out"), ("pairless", "alone")):
        assert not show("oddities", part=part, **{page: value}).exception
