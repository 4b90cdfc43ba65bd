"""Explore and Matches under the filters of a URL, and the verdicts and tags that they store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer.author import author
from orl_explorer.app.pages.explore.page import mark_photos
from orl_explorer.app.pages.matches.page import mark_pairs as mark_matches
from orl_explorer.app.pages.matches.page import pair_query
from orl_explorer.db.gallery.order import GalleryOrder, gallery_ids
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.people.selections import keep_selection, selections
from orl_explorer.db.people.tags import tag_photos, tags_of, tags_of_pairs
from orl_explorer.db.people.verdicts import judge_pair, verdicts_on
from orl_explorer.db.sets.pairs import matches_at, pair_keys
from orl_explorer.db.sets.read import find_set, pairs_of, rois_of
from orl_explorer.train.mining.orders import MatchOrder, PairOrders, make_matches, match_keys, match_rows
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words


def names(at: AppTest) -> list[str]:
    return [tile["name"] for tile in component(at)["tiles"]]


def demo_set(workspace: Workspace) -> CorrespondenceSet:
    found = find_set(workspace.store, "demo-starter")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("sort", "by"), [("Consistency", "cycle"), ("Margin", "margin"), ("RoIs", "regions"), ("Random", "random")]
)
def test_explore_sorts_as_the_url_says(here: Workspace, show: Show, sort: str, by: str) -> None:
    at = show("explore", sort=sort, desc="true", seed="7")
    assert not at.exception
    ids = gallery_ids(here.store, GalleryOrder(1, demo_set(here).id, by, by != "random", seed=7))
    assert [tile["id"] for tile in component(at)["tiles"]] == ids.tolist()


def test_explore_filters_by_tag_verdict_and_number_of_pairs(here: Workspace, show: Show) -> None:
    tag_photos(here.store, [2, 5], "night", "ann")
    at = show("explore", tag="night")
    assert names(at) == ["scene-001.jpg", "scene-004.jpg"]
    assert "2 of 12 photos" in words(at)
    assert component(at)["tiles"][0]["tags"] == ["night"]
    first = rois_of(here.store, demo_set(here).id, [5])[5].ids.tolist()[0]
    judge_pair(here.store, first, first, "wrong", "ann")
    assert names(show("explore", judged="judged wrong")) == ["scene-004.jpg"]
    assert names(show("explore", tag="night", judged="not judged")) == ["scene-001.jpg"]
    counts = {tile["id"]: int(tile["badges"][1]["text"].split()[0]) for tile in component(show("explore"))["tiles"]}
    most = max(counts.values())
    at = show("explore", least=str(most), sort="Name")
    assert [tile["id"] for tile in component(at)["tiles"]] == [i for i, count in counts.items() if count == most]
    at = show("explore", tag="night", least="0", most="0")
    assert at.info[0].value == "No photo matches these filters. Clear a filter."


def test_explore_shows_a_kept_selection_and_the_way_back(here: Workspace, show: Show) -> None:
    kept = keep_selection(here.store, 1, [9, 3], "two")
    at = show("explore", selection=str(kept))
    assert names(at) == ["scene-002.jpg", "scene-008.jpg"]
    assert "Selection: **two**" in words(at)
    (clear,) = [b for b in at.button if b.label == "Clear all filters"]
    clear.click().run()
    assert len(names(at)) == 12
    assert "99 (deleted)" in words(show("explore", selection="99"))
    assert len(names(show("explore", selection="x"))) == 12


@pytest.mark.parametrize("value", ["", "-1", "1e9", "x", "99999999999999999999"])
def test_senseless_filters_in_the_url_do_no_harm(here: Workspace, show: Show, value: str) -> None:
    at = show("explore", sort=value, seed=value, category=value, tag=value, judged=value, least=value, most=value)
    assert not at.exception
    at = show("explore", go=value, page=value, selection=value)
    assert not at.exception
    at = show("matches", by=value, cat=value, verdict=value, floor=value, near=value, p=value)
    assert not at.exception


def test_photos_are_tagged_and_kept_together(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orl_explorer.app.pages.explore.page.st.toast", lambda *_, **__: None)
    monkeypatch.setattr("orl_explorer.app.pages.explore.page.st.session_state", {"marking": 1})
    monkeypatch.setattr("orl_explorer.app.pages.explore.page.st.query_params", {})
    mark_photos("tag", [1, 2], " night ")
    assert tags_of(here.store, [1, 2, 3]) == {1: ("night",), 2: ("night",)}
    mark_photos("untag", [2], "night")
    assert tags_of(here.store, [1, 2, 3]) == {1: ("night",)}
    mark_photos("tag", [3], "x" * 99)  # said in a toast
    mark_photos("keep", [4, 1], "")
    assert selections(here.store, 1) == [(1, "2 photos")]
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    mark_photos("tag", [3], "night")
    assert tags_of(here.store, [1, 2, 3]) == {1: ("night",)}


def test_a_server_that_only_shows_offers_no_choosing_and_no_judging(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert component(show("explore"))["can_mark"]
    assert component(show("matches"))["can_judge"]
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("explore")
    assert not component(at)["can_mark"]
    assert not at.text_input(key="find").disabled
    assert not component(show("matches"))["can_judge"]


def cards_of(here: Workspace, found: PairOrders, order: MatchOrder) -> list[str]:
    """The ids of the first cards: the set and the key of a pair."""
    mined = demo_set(here)
    return [f"{mined.id}-{key}" for key in match_keys(found, match_rows(here, mined, found, order), 0, 36).tolist()]


def test_matches_shows_the_pairs_of_the_set_in_the_order_of_the_url(here: Workspace, show: Show) -> None:
    mined = demo_set(here)
    found = make_matches(here, mined)
    for by, order in (
        ("Most similar", MatchOrder()),
        ("Least similar", MatchOrder(descending=False)),
        ("Smallest margin", MatchOrder("margin", False)),
        ("Inconsistent first", MatchOrder("cycle", False)),
    ):
        at = show("matches", by=by)
        assert not at.exception
        assert [card["id"] for card in component(at)["cards"]] == cards_of(here, found, order)
    values = sorted((p.similarity for i in range(1, 13) for p in pairs_of(here.store, mined.id, i)), reverse=True)
    cards = component(show("matches"))["cards"]
    assert [round(card["similarity"], 5) for card in cards] == [round(v, 5) for v in values[:36]]


def test_matches_filters_and_says_how_many_are_left(here: Workspace, show: Show) -> None:
    mined = demo_set(here)
    found = make_matches(here, mined)
    name = found.names[int(found.category.max())]
    at = show("matches", cat=name)
    assert [c["id"] for c in component(at)["cards"]] == cards_of(here, found, MatchOrder(category=name))
    total = int((found.category == found.category.max()).sum())
    assert f"**{total:,} of {mined.pair_count:,} pairs**" in words(at)
    at = show("matches", verdict="good")
    assert at.info[0].value == "No pair matches these filters. Clear a filter."
    (clear,) = [b for b in at.button if b.label == "Clear all filters"]
    clear.click().run()
    assert len(component(at)["cards"]) > 0


def test_matches_jumps_to_the_pairs_around_a_similarity(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.app.pages.matches.page.PER_PAGE", 4)
    found = make_matches(here, demo_set(here))
    middle = float(found.similarity[found.by["similarity"][len(found.keys) // 2]])
    shown = [card["similarity"] for card in component(show("matches", near=f"{middle:.6f}"))["cards"]]
    assert len(shown) == 4
    assert shown[0] >= middle - 1e-5 and shown[-1] <= middle + 1e-5


def test_what_was_said_of_matches_is_kept_however_often_it_is_said(
    here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    mined = demo_set(here)
    first, second = matches_at(here.store, mined.id, pair_keys(np.array([[3, 1, 1], [3, 2, 1]])))
    a, b = f"{mined.id}-{first.key}", f"{mined.id}-{second.key}"
    of_another_set = f"{mined.id + 1}-{second.key}"
    monkeypatch.setattr("orl_explorer.app.pages.matches.page.st.toast", lambda *_, **__: None)
    monkeypatch.setattr("orl_explorer.app.pages.matches.page.author", lambda: "ann")
    pairs = [(m.query_roi_id, m.key_roi_id) for m in (first, second)]
    for _ in range(2):
        mark_matches(
            {a: "good", b: "nonsense", "7": "wrong", "x": "wrong", of_another_set: "wrong"},
            [{"id": b, "tag": " odd  one", "on": True}, {"id": of_another_set, "tag": "worse", "on": True}],
        )
        assert verdicts_on(here.store, pairs, "ann") == {pairs[0]: "good"}
        assert tags_of_pairs(here.store, pairs) == {pairs[1]: ("odd one",)}
    mark_matches({}, [{"id": a, "tag": "", "on": True}, {"id": "7", "tag": "x", "on": True}, "nonsense"])
    mark_matches({a: None}, [{"id": b, "tag": "odd one", "on": False}])
    mark_matches(None, "nonsense")
    assert (verdicts_on(here.store, pairs, "ann"), tags_of_pairs(here.store, pairs)) == ({}, {})


def test_a_match_leads_to_its_query_neighbour_and_pair(here: Workspace, show: Show) -> None:
    mined = demo_set(here)
    make_matches(here, mined)
    stored = next(p for p in pairs_of(here.store, mined.id, 3) if p.neighbor_rank == 2)
    (match,) = matches_at(here.store, mined.id, pair_keys(np.array([[3, 2, 1]])))
    query = pair_query(here.store, mined.id, match)
    at = show("pair", **query)
    assert not at.exception
    sent = component(at)
    selected = sent["selected"]
    assert tuple(sent["query"]["boxes"][selected["q"]]) == stored.query_box
    assert tuple(sent["neighbor"]["boxes"][selected["k"]]) == stored.key_box


def test_matches_of_an_empty_workspace_and_of_photos_without_a_set(
    nowhere: Workspace, scenes: Path, show: Show
) -> None:
    from orl_explorer.train.ingest.ingest import ingest

    assert [b.label for b in show("matches").button][:1] == ["Build the demo"]
    ingest(nowhere, scenes, name="mine")
    at = show("matches")
    assert not at.exception
    assert "Find neighbours, RoIs and pairs" in words(at)


def test_the_author_of_a_mark_is_the_user_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    assert author() == "ann"

    def nameless() -> str:
        raise OSError

    monkeypatch.setattr("getpass.getuser", nameless)
    assert author() == "someone"
