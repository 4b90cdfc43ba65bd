"""Filters and page numbers of a dataset, set or query do not stay when another one is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from orl_explorer.db.people.tags import tag_photos
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words
from tests.conftest import MINED, NewRun
from tests.named import mine


@pytest.fixture
def plain(here: Workspace, scenes: Path, tmp_path: Path, remembered: None) -> Workspace:
    """The mined demo, and the dataset *plain*: three of its photos, without annotations."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for photo in sorted((scenes / "images").iterdir())[:3]:
        shutil.copy(photo, folder)
    ingest(here, folder, name="plain")
    return here


@pytest.fixture
def plain_set(plain: Workspace, new_run: NewRun) -> Workspace:
    """Both datasets, each with a set: *demo-starter* and *plain-starter*."""
    config = MINED.model_copy(update={"neighbors": 1})
    mine(plain, "plain", "starter", "plain-starter", config, run_id=new_run(plain, "mine", "plain-starter"), workers=1)
    return plain


def picked(at: AppTest, key: str, value: str) -> AppTest:
    return at.selectbox(key=key).select(value).run()


def buttons(at: AppTest) -> list[str]:
    return [button.label for button in at.button]


def test_a_filter_that_the_gallery_does_not_offer_is_not_active(plain: Workspace, show: Show) -> None:
    tag_photos(plain.store, [2], "night", "ann")
    at = show("explore", data="demo", tag="night", least="0")
    picked(at, "category", at.selectbox(key="category").options[0])
    for _ in range(2):
        picked(at, "data", "plain")
        assert len(component(at)["tiles"]) == 3
        assert "Clear all filters" not in buttons(at)
    at = show("explore", data="plain", category="cube", tag="night", judged="not judged", least="9")
    assert len(component(at)["tiles"]) == 3


def test_a_filter_that_matches_does_not_offer_is_not_active(plain_set: Workspace, show: Show) -> None:
    at = show("matches", data="demo", set="demo-starter")
    every = len(component(show("matches", data="plain", set="plain-starter"))["cards"])
    picked(at, "cat", at.selectbox(key="cat").options[0])
    assert "Clear all filters" in buttons(at)
    picked(at, "data", "plain")
    assert len(component(at)["cards"]) == every > 0
    assert "Clear all filters" not in buttons(at)


@pytest.mark.parametrize("page", ["pair", "attention"])
def test_a_page_without_a_photo_says_that_the_filters_hide_all(here: Workspace, show: Show, page: str) -> None:
    for at in (show(page, find="zzz"), kept_from_explore(page, in_selection=99, find="scene")):
        assert "The filters of *Explore* hide all photos of this dataset." in words(at)
        assert not at.get("bidi_component")
        next(button for button in at.button if button.label == "Clear all filters").click().run()
        assert not at.exception
        assert component(at)["query"]["name"].endswith("scene-000.jpg")


@pytest.mark.parametrize(
    ("module", "shown", "link"),
    [
        ("explore.page", "tiles", {"page": "2"}),
        ("matches.page", "cards", {"p": "2"}),
        ("oddities.photos", "tiles", {"part": "hubs", "hub": "2"}),
        ("oddities.edge", "cards", {"part": "edge", "edge": "2"}),
    ],
)
def test_another_dataset_opens_on_its_first_page(
    plain_set: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch, module: str, shown: str, link: dict[str, str]
) -> None:
    monkeypatch.setattr(f"orl_explorer.app.pages.{module}.PER_PAGE", 2)
    page, unnumbered = module.partition(".")[0], {name: value for name, value in link.items() if name == "part"}
    at = show(page, data="demo", **link)
    assert component(at)[shown] != component(show(page, data="demo", **unnumbered))[shown]
    picked(at, "data", "plain")
    assert component(at)[shown] == component(show(page, data="plain", **unnumbered))[shown]


def test_a_photo_that_was_gone_to_stays_with_its_dataset(
    plain: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.app.pages.explore.page.PER_PAGE", 2)
    at = show("explore", data="demo")
    at.number_input(key="go").set_value(3).run()
    assert component(at)["tiles"][0]["name"] == "scene-002.jpg"
    assert component(at)["selected"] == component(at)["tiles"][0]["id"]
    at.toggle(key="desc").set_value(True).run()
    assert (component(at)["tiles"][0]["name"], component(at)["selected"]) == ("scene-011.jpg", None)
    at.toggle(key="desc").set_value(False).run()
    at.number_input(key="go").set_value(3).run()
    picked(at, "data", "plain")
    assert (component(at)["tiles"][0]["name"], component(at)["selected"]) == ("scene-000.jpg", None)


def test_another_query_opens_on_the_first_page_of_its_results(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.app.pages.search.page.PER_PAGE", 2)
    at = show("search", data="demo", set="demo-starter", q="1", hits="3")
    assert [found["rank"] for found in component(at, 1)["found"]] == [5, 6]
    at.run()
    assert [found["rank"] for found in component(at, 1)["found"]] == [5, 6]
    at.query_params["q"] = "2"
    at.run()
    assert [found["rank"] for found in component(at, 1)["found"]] == [1, 2]


def kept_from_explore(page: str, **kept: object) -> AppTest:
    """Open a page in a session that Explore has left its filters in."""
    at = AppTest.from_string(f"from orl_explorer.app.pages.{page}.page import page\npage()\n", default_timeout=60)
    for key, value in kept.items():
        at.session_state[key] = value
    return at.run()
