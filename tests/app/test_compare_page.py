"""The compare page without a browser: two sets of the mined demo."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from orl_explorer.app.pages.compare.page import _counterpart
from orl_explorer.app.pages.compare.whole import compared_measures, cursor
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.sets.comparison import ImageOverlap, TwoSets, kept_comparison, least_alike
from orl_explorer.db.sets.read import find_set, pair_rows
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words
from tests.conftest import MINED, NewRun
from tests.named import mine


@pytest.fixture
def two(here: Workspace, new_run: NewRun) -> Workspace:
    """The demo with a second set: three neighbours instead of four, and more pairs with each."""
    config = MINED.model_copy(update={"neighbors": 3, "pair_ratio": 0.3})
    mine(here, "demo", "starter", "other", config, run_id=new_run(here, "mine", "other"), workers=1)
    return here


def compared(at: AppTest) -> tuple[str, str]:
    assert not at.exception
    return at.selectbox(key="a").value, at.selectbox(key="b").value


def test_one_set_alone_says_how_to_get_another(here: Workspace, show: Show) -> None:
    at = show("compare")
    assert not at.exception
    assert "This dataset has only one set, demo\\-starter." in at.info[0].value
    assert [b.label for b in at.button] == ["Change settings", "Choose another encoder"]


def test_an_empty_workspace_offers_the_demo(nowhere: Workspace, show: Show) -> None:
    at = show("compare")
    assert not at.exception
    assert at.button[0].label == "Build the demo"


def test_the_set_of_the_sidebar_is_compared_with_the_newest_other_one(
    two: Workspace, show: Show, new_run: NewRun
) -> None:
    mine(two, "demo", "starter", "third", MINED, run_id=new_run(two, "mine", "third"), workers=1)
    assert compared(show("compare")) == ("other", "third")
    assert compared(show("compare", set="other")) == ("other", "third")
    at = show("compare", set="demo-starter")
    assert compared(at) == ("demo-starter", "third")

    at.selectbox(key="a").set_value("other").run()
    assert compared(at) == ("other", "third")
    at.selectbox(key="set").set_value("third").run()
    assert compared(at) == ("other", "third")
    at.selectbox(key="set").set_value("demo-starter").run()
    assert compared(at) == ("demo-starter", "third")


def test_a_set_by_the_same_encoder_is_compared_first() -> None:
    newest, same, oldest = (CorrespondenceSet(id=i, encoder_id=e) for i, e in ((3, 2), (2, 1), (1, 1)))
    assert _counterpart([newest, same, oldest], oldest) is same
    assert _counterpart([newest, same, oldest], same) is oldest
    assert _counterpart([newest, same, oldest], newest) is same


def test_pairs_of_a_query_are_kept_lost_or_new(two: Workspace, show: Show) -> None:
    at = show("compare", q="3", a="demo-starter", b="other", iou="equal")
    assert not at.exception
    sent = component(at)
    assert sent["place"] == {"data": "demo", "a": "demo-starter", "b": "other", "iou": "equal", "q": "3"}
    first, second = (find_set(two.store, name) for name in ("demo-starter", "other"))
    assert first is not None and second is not None
    near = sent["neighbor"]
    stored = [
        {(r.query_roi_id, r.key_roi_id) for r in pair_rows(two.store, s.id, [3])[3] if r.neighbor_id == near}
        for s in (first, second)
    ]
    by_status = {
        status: {tuple(map(int, r["id"].split("-"))) for r in sent["rows"] if r["status"] == status}
        for status in ("kept", "lost", "new")
    }
    assert by_status == {
        "kept": stored[0] & stored[1],
        "lost": stored[0] - stored[1],
        "new": stored[1] - stored[0],
    }
    assert by_status["kept"] and by_status["new"]
    assert [n["status"] for n in sent["neighbors"]] == ["kept", "kept", "kept", "lost"]
    for pane, ids in zip(sent["panes"], stored, strict=True):
        assert {tuple(map(int, p["id"].split("-"))) for p in pane["pairs"]} == ids
        for pair in pane["pairs"]:
            row = next(r for r in sent["rows"] if r["id"] == pair["id"])
            assert pane["query"]["boxes"][pair["q"]] == row["boxes"][0]
            assert pane["neighbor"]["boxes"][pair["k"]] == row["boxes"][1]


def test_boxes_that_overlap_are_the_same_from_the_chosen_overlap_on(
    two: Workspace, show: Show, new_run: NewRun
) -> None:
    config = MINED.model_copy(update={"max_iou": 0.4})
    mine(two, "demo", "starter", "sparser", config, run_id=new_run(two, "mine", "sparser"), workers=1)
    found = {}
    for least in ("0.3", "0.5", "equal"):
        at = show("compare", a="demo-starter", b="sparser", iou=least)
        assert at.selectbox(key="iou").value == least
        found[least] = [float(metric.value) for metric in at.metric]
    assert show("compare", a="demo-starter", b="sparser").selectbox(key="iou").value == "0.5"
    neighbors, rois, pairs = zip(*found.values(), strict=True)
    assert set(neighbors) == {1.0}
    assert rois[0] >= rois[1] > rois[2] > 0
    assert pairs[0] > pairs[1] > pairs[2] > 0


def test_a_neighbour_of_one_set_alone_is_named_so(two: Workspace, show: Show) -> None:
    lost = component(show("compare", q="3", a="demo-starter", b="other"))["neighbors"][3]
    sent = component(show("compare", q="3", a="demo-starter", b="other", nb=str(lost["id"])))
    assert [pane["neighbor"]["rank"] for pane in sent["panes"]] == [4, None]
    assert {row["status"] for row in sent["rows"]} == {"lost"}
    assert sent["panes"][1]["pairs"] == []


def test_the_photo_whose_pairs_differ_most_comes_first(two: Workspace, show: Show) -> None:
    at = show("compare", a="demo-starter", b="other")
    first, second = (find_set(two.store, name) for name in ("demo-starter", "other"))
    assert first is not None and second is not None
    kept = kept_comparison(two.store, TwoSets(first.id, second.id, 50))
    assert kept is not None and kept.images == 12  # computed by the page
    order = [row.image_id for row in least_alike(two.store, TwoSets(first.id, second.id, 50), 99)]
    assert component(at)["panes"][0]["query"]["id"] == order[0]
    assert [m.value for m in at.metric] == [
        f"{part.agreement:.3f}" for part in (kept.total.neighbors, kept.total.rois, kept.total.pairs)
    ]
    assert "Both sets were mined with starter" in words(at)


def test_the_same_set_twice_and_an_unknown_photo_are_sentences(two: Workspace, show: Show) -> None:
    assert "are the same set" in show("compare", a="other", b="other").info[0].value
    assert "Photo not found" in show("compare", q="999").warning[0].value


def test_a_server_that_only_shows_writes_no_comparison(
    two: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("compare", q="3", a="demo-starter", b="other")
    assert not at.exception
    assert kept_comparison(two.store, TwoSets(1, 2, 50)) is None
    assert "This server is read-only." in words(at)


def test_measures_stand_side_by_side_with_their_difference(two: Workspace) -> None:
    first, second = (find_set(two.store, name) for name in ("demo-starter", "other"))
    assert first is not None and second is not None
    tables = compared_measures(first, second)
    assert [*tables] == ["Settings", "Pairs", "Boxes", "Coverage and hubs", "Similarity and margin"]
    assert ("K · neighbours", "4", "3", "-1", "") in tables["Settings"]
    assert ("N · pairs per neighbour, share of RoIs", "0.1", "0.3", "+0.2", "") in tables["Settings"]
    ours, theirs = (s.quality["pairs_per_image"] for s in (first, second))  # type: ignore[index]
    assert tables["Pairs"][0][:4] == ("Pairs per photo", f"{ours:.4g}", f"{theirs:.4g}", f"{theirs - ours:+.4g}")
    boxes = [row[0] for row in tables["Boxes"]]
    assert boxes[boxes.index("CorLoc") + 1] == "… by chance"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.25-17", ImageOverlap(17, 0, 0, 0.25)),
        ("0-0", ImageOverlap(0, 0, 0, 0.0)),
        ("", None),
        ("0.25", None),
        ("2-5", None),
        ("nan-5", None),
        ("0.5-x", None),
    ],
)
def test_a_page_of_the_list_begins_where_the_url_says(text: str, found: ImageOverlap | None) -> None:
    assert cursor(text) == found
