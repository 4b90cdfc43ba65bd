"""Further data of the pair page: matrix, best matches, pairs outside the set, reasons, caption."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer import preview
from orl_explorer.app.explorer.pair import RoiName
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.why import rank_of
from orl_explorer.app.pages.pair.payload import packed
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named, image_by_id
from orl_explorer.db.sets.read import find_set
from orl_explorer.orl.matching import cosines
from orl_explorer.train.mining.candidates import match
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, words


@pytest.fixture
def subject(here: Workspace) -> PreviewSubject:
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    return PreviewSubject(here, mined, dataset_named(here.store, "demo"), encoder_named(here.store, "starter"))


def matrix(at: AppTest) -> np.ndarray:
    sent = component(at)["matrix"]
    values = np.frombuffer(base64.b64decode(sent["values"]), "<i2").reshape(sent["rows"], sent["columns"])
    return values / 10_000


def test_a_matrix_is_sent_in_two_bytes_a_cell() -> None:
    sent = packed(np.array([[0.12345, -1.0, 1.0], [0.5, 0.99996, -0.00004]], np.float32))
    assert (sent["rows"], sent["columns"]) == (2, 3)
    numbers = np.frombuffer(base64.b64decode(sent["values"]), "<i2").tolist()
    assert numbers == [1234, -10000, 10000, 5000, 10000, 0]


def test_the_matrix_holds_the_similarity_of_every_pair(here: Workspace, show: Show) -> None:
    at = show("pair", q="3", nn="2", n="0.4")
    sent, similar = component(at), matrix(at)
    assert similar.shape == (len(sent["query"]["boxes"]), len(sent["neighbor"]["boxes"]))
    for pair in sent["pairs"]:
        assert similar[pair["q"], pair["k"]] == pytest.approx(pair["similarity"], abs=6e-5)
    kept = sorted((similar[p["q"], p["k"]] for p in sent["pairs"]), reverse=True)
    assert kept == sorted(similar.ravel(), reverse=True)[: len(kept)]


def test_a_selected_pair_outside_the_set_says_where_it_stands(here: Workspace, show: Show) -> None:
    at = show("pair", q="3", nn="2")
    similar, kept = matrix(at), len(component(at)["pairs"])
    q, k = np.unravel_index(int(similar.argmin()), similar.shape)
    sent = component(show("pair", q="3", nn="2", pair=f"{q}-{k}"))
    assert sent["selected"] == {"q": q, "k": k}
    rows, columns = similar.shape
    last = f"rank {rows * columns:,} of {rows} × {columns}"
    limit = "only the first is kept" if kept == 1 else f"the first {kept} are kept"
    assert sent["outside"]["note"] == f"Not in the set: {last}; {limit}"
    assert sent["outside"]["similarity"] == pytest.approx(similar.min(), abs=6e-5)
    best = component(at)["pairs"][0]
    assert component(show("pair", q="3", nn="2", pair=f"{best['q']}-{best['k']}"))["outside"] is None


@pytest.mark.parametrize("asked", ["999-0", "0-999", "a-b", "1", "-1--1", ""])
def test_a_senseless_pair_in_the_url_selects_nothing(here: Workspace, show: Show, asked: str) -> None:
    at = show("pair", q="3", pair=asked, roi=asked)
    assert not at.exception
    assert component(at)["selected"] is component(at)["matches"] is None


def test_the_place_of_a_pair_is_its_rank_when_all_are_kept(subject: PreviewSubject) -> None:
    config = MineConfig(pair_ratio=1.0, max_rois=5, ranked_by="objectness", object_weight=0.5, sparse_weight=1)
    [query, key] = preview.sides(subject, [image_by_id(subject.workspace.store, i)[0] for i in (3, 4)], config)  # type: ignore[index]
    rois = [preview.described_side(subject, side, config) for side in (query, key)]
    similar = cosines(*(each.features for each in rois))
    pairs = match(*rois, config, nearest=False)
    places = [rank_of(similar, *rois, (q, k)) for q, k in zip(pairs.query, pairs.key, strict=True)]
    assert places == [1, 2, 3, 4, 5][: len(places)]
    everywhere = {rank_of(similar, *rois, ij) for ij in np.ndindex(similar.shape)}
    assert everywhere == set(range(1, similar.size + 1))


def test_a_roi_has_a_best_match_in_every_neighbour_at_no_forward_pass(here: Workspace, show: Show) -> None:
    sent = component(show("pair", q="3", roi="q1"))
    found = sent["matches"]
    assert (found["side"], found["index"]) == ("query", 1)
    assert [item["rank"] for item in found["items"]] == [1, 2, 3, 4]
    for item in found["items"]:
        similar = matrix(show("pair", q="3", nn=str(item["rank"])))
        assert item["similarity"] == pytest.approx(similar[1].max(), abs=6e-5)
        assert similar[1, item["index"]] == pytest.approx(similar[1].max(), abs=2e-4)
    back = component(show("pair", q="3", nn="2", roi="n0"))["matches"]
    assert [(item["rank"], item["id"]) for item in back["items"]] == [(None, 3)]
    assert back["items"][0]["index"] == int(matrix(show("pair", q="3", nn="2"))[:, 0].argmax())


def test_a_neighbour_whose_boxes_are_not_embedded_says_so(here: Workspace, show: Show) -> None:
    preview._opened_sources.cache_clear()
    items = component(show("pair", q="3", size="40", roi="q0"))["matches"]["items"]
    assert items[0]["similarity"] is not None  # the one on screen was embedded for it
    assert [item["similarity"] for item in items[1:]] == [None, None, None]


def test_a_rejected_box_is_explained_by_filtering_once_more(here: Workspace, show: Show) -> None:
    rejected = component(show("pair", q="3"))["query"]["rejected"]
    small = next(box for box in rejected if box["rule"] == "size")
    sent = component(show("pair", q="3", roi=f"qx{small['raw']}"))
    assert sent["explained"]["raw"] == small["raw"]
    side = min(small["box"][2:])
    words = sent["explained"]["text"]
    assert f"min size {side}" in words
    loosened = component(show("pair", q="3", size=str(side)))["query"]["boxes"] if side >= 16 else []
    if words.startswith("Kept") and loosened:
        assert small["box"] in loosened
    assert component(show("pair", q="3", roi="qx99999"))["explained"] is None


def test_a_figure_says_how_it_came_about(here: Workspace, show: Show) -> None:
    caption = " ".join(component(show("pair", q="3", nn="2", size="72"))["caption"])
    assert "Correspondence set demo-starter, changed: min size 72 (96)" in caption
    assert "K 4, N 0.1, min size 72, max aspect 3, max IoU 0.5, max RoIs 100, spread RoIs after 1000, " in caption
    assert "Query images/scene-002.jpg; neighbour 2 of 4" in caption
    assert "supervised" in caption


def test_a_server_that_only_shows_takes_no_verdicts_and_starts_no_run(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    at = show("pair", q="3", size="72")
    assert component(at)["can_judge"] is False
    assert [b.label for b in at.button] == ["Reset to the set's values"]


def test_a_slider_goes_where_the_url_says_and_the_url_where_the_slider_is_moved(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = show("pair", q="3", size="72")
    key = next(s.key for s in at.slider if s.key and s.key.startswith("size-"))
    assert at.slider(key).value == 72
    at.slider(key).set_value(80).run()
    assert at.query_params["size"] == "80"
    at.query_params["size"] = "72"  # as in a browser that has not heard of the move yet
    at.run()
    assert (at.slider(key).value, at.query_params["size"]) == (80, "80")
    at.query_params["size"] = "64"
    monkeypatch.setattr("orl_explorer.app.pages.shell.went_back", lambda: True)
    at.run()
    assert at.slider(key).value == 64
    assert "min size 64 (96)" in words(at)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("q3", RoiName("query", False, 3)),
        ("nx12", RoiName("neighbor", True, 12)),
        ("q", None),
        ("x3", None),
        ("q1234567", None),
        ("q٣", None),
        (None, None),
        (3, None),
    ],
)
def test_a_box_has_a_name_for_the_url(text: object, name: RoiName | None) -> None:
    assert RoiName.parse(text) == name
    assert name is None or str(name) == text
