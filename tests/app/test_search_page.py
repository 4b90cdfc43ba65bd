"""Search by example: its page, the pictures that people give, `orl search` and `workspace.search`."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

import orl_explorer as orl
from orl_explorer.app.explorer import preview, searching
from orl_explorer.app.explorer.pair import RoiName, Seen, SeenPhoto
from orl_explorer.app.explorer.paths import VARIABLE
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.rejections import Rejected
from orl_explorer.app.explorer.searching import image_of_path, pair_of, rois_in_set
from orl_explorer.app.pages.pair.page import PairOnScreen, example_named, sides_named
from orl_explorer.app.pages.search import page as search_page
from orl_explorer.app.server import given
from orl_explorer.app.server.given import GIVEN_ROUTES, RAW, given_url
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Image
from orl_explorer.db.photos import dataset_named, image_by_id
from orl_explorer.db.sets.read import complete_set_named, neighbors_of
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs import sets as work
from orl_explorer.train.mining import search_index
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, plain
from tests.shell import orl as shell
from tests.shell import refused

Box = tuple[int, int, int, int]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    searching._found.cache_clear()
    search_index._plain.cache_clear()
    given._cache.cache_clear()
    given._DECODED.clear()
    yield
    given._cache.cache_clear()


@pytest.fixture
def client(here: Workspace) -> TestClient:
    return TestClient(Starlette(routes=GIVEN_ROUTES))


def png(width: int = 200, height: int = 120, **more: Any) -> bytes:
    data = io.BytesIO()
    drawn = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    Picture.fromarray(drawn).save(data, "PNG", **more)
    return data.getvalue()


def sent(client: TestClient, data: bytes) -> str:
    answer = client.post(given_url(), content=data, headers={"content-type": RAW})
    assert answer.status_code == 200
    return str(answer.json()["name"])


def subject_of(here: Workspace) -> PreviewSubject:
    store = here.store
    mined = complete_set_named(store, "demo-starter")
    return PreviewSubject(here, mined, dataset_named(store, "demo"), encoder_named(store, "starter"))


def image(here: Workspace, image_id: int) -> Image:
    found = image_by_id(here.store, image_id)
    assert found is not None
    return found[0]


def in_url(box: Box) -> str:
    return "-".join(map(str, box))


def plainly(here: Workspace, image_id: int, box: Box) -> list[tuple[int, float]]:
    """The RoIs of other photos by their similarity to a RoI, best first, by a loop."""
    opened = orl.open_workspace(here.path, bars=False)
    rois, features = opened.rois("demo-starter"), opened.roi_features("demo-starter")
    images, boxes = rois.image_id.tolist(), [tuple(row) for row in rois[["x", "y", "w", "h"]].to_numpy().tolist()]
    own = features[[*zip(images, boxes, strict=True)].index((image_id, box))]
    others = [k for k, image in enumerate(images) if image != image_id]
    found = [(int(rois.roi_id[k]), float(features[k] @ own)) for k in others]
    return sorted(found, key=lambda each: -each[1])


def test_a_roi_finds_the_most_similar_ones_of_all_other_photos(here: Workspace, show: Show) -> None:
    box = rois_in_set(subject_of(here), 3)[2]
    at = show("search", q="3", box=in_url(box))
    assert not at.exception
    asked, results = component(at, 0), component(at, 1)
    assert (asked["box"], asked["whole"], asked["can_draw"], asked["photo"]["name"]) == (
        list(box),
        False,
        True,
        "images/scene-002.jpg",
    )
    assert len(asked["rois"]) == len(rois_in_set(subject_of(here), 3))
    expected = plainly(here, 3, box)
    assert [roi["id"] for roi in results["found"]] == [roi for roi, _ in expected[:48]]
    assert [roi["similarity"] for roi in results["found"]] == pytest.approx([c for _, c in expected[:48]], abs=1e-5)
    assert [roi["rank"] for roi in results["found"]] == list(range(1, 49))
    assert "is a RoI of the set, by starter." in plain(at)
    assert f"**{len(expected)} of " in plain(at)
    second = component(show("search", q="3", box=in_url(box), hits="2"), 1)["found"]
    assert [roi["id"] for roi in second] == [roi for roi, _ in expected[48:96]]


def test_filters_leave_out_what_they_say(here: Workspace, show: Show) -> None:
    def found(**filters: str) -> list[dict[str, Any]]:
        at = show("search", q="3", **filters)
        assert not at.exception
        return component(at, 1)["found"]

    every = found()
    assert all("/photo/3/" not in roi["photo"] for roi in every)
    assert "/photo/3/" in found(own="true")[0]["photo"]
    once = found(once="true")
    assert len({roi["photo"] for roi in once}) == len(once) == 11
    assert once[0]["similarity"] == every[0]["similarity"]
    least = every[9]["similarity"]
    assert len(found(hit_floor=f"{least - 1e-4:.4f}")) == 10
    category = next(roi["category"] for roi in every if roi["category"])
    some = found(hit_cat=category)
    assert {roi["category"] for roi in some} == {category}
    at = show("search", q="3", hit_floor="0.99")
    assert "No RoI passes these filters. Clear a filter." in plain(at)
    at.button[0].click().run()
    assert len(component(at, 1)["found"]) == 48


def test_filters_of_matches_are_none_of_search(here: Workspace) -> None:
    at = both_pages("matches", "search")
    at.session_state["next"] = "matches"
    at.query_params["q"] = "3"
    at.run()
    at.number_input(key="floor").set_value(0.9).run()
    at.session_state["next"] = "search"
    at.run()
    assert not at.exception
    assert at.number_input(key="hit_floor").value is None


def both_pages(first: str, second: str) -> AppTest:
    """Return a script that draws one of two pages, by the session's ``next``."""
    lines = [f"from orl_explorer.app.pages.{name}.page import page as {name}" for name in (first, second)]
    script = f"import streamlit as st\n({first} if st.session_state['next'] == '{first}' else {second})()\n"
    return AppTest.from_string("\n".join([*lines, script]), default_timeout=60)


def test_a_box_smaller_than_a_cell_grows_and_the_page_says_so(here: Workspace, show: Show) -> None:
    at = show("search", q="3", box="100-100-4-6")
    assert component(at, 0)["box"] == [86, 87, 32, 32]
    assert "The box was grown to 32 × 32 pixels: a crop of fewer pixels than a cell of the encoder's map" in plain(at)
    assert "The box 86, 87, 32 × 32 of" in plain(at)


def test_a_picture_is_kept_served_and_searched_with(here: Workspace, show: Show, client: TestClient) -> None:
    name = sent(client, png())
    assert sent(client, png()) == name
    shown = client.get(f"{given_url()}/{name}")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert Picture.open(io.BytesIO(shown.content)).size == (200, 120)
    at = show("search", photo=name, box="10-20-60-80")
    assert not at.exception
    asked = component(at, 0)
    assert (asked["photo"]["url"], asked["rois"], asked["box"]) == (f"{given_url()}/{name}", [], [10, 20, 60, 80])
    [best, *_] = component(at, 1)["found"]
    again = component(show("search", photo=name), 1)["found"]
    assert best["similarity"] != again[0]["similarity"]
    assert {path.name for path in (here.search / "given").iterdir()} == {name}


def test_a_picture_that_is_a_photo_of_the_set_finds_what_that_finds(
    here: Workspace, show: Show, client: TestClient, scenes: Path
) -> None:
    box = in_url(rois_in_set(subject_of(here), 3)[0])
    name = sent(client, (scenes / "images" / "scene-002.jpg").read_bytes())
    of_file = component(show("search", photo=name, box=box), 1)["found"]
    of_photo = component(show("search", q="3", box=box, own="true"), 1)["found"]
    assert [roi["id"] for roi in of_file] == [roi["id"] for roi in of_photo]
    assert of_file[0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_what_is_no_picture_or_too_large_is_refused(
    here: Workspace, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(data: bytes, kind: str = RAW) -> tuple[int, str]:
        done = client.post(given_url(), content=data, headers={"content-type": kind})
        return done.status_code, done.text

    assert answer(b"<svg/>") == (422, "Cannot search with it: not an image that Pillow can identify.")
    assert answer(png(), "text/plain") == (415, "Send the picture as application/octet-stream.")
    assert client.get(f"{given_url()}/{'0' * 32}").status_code == 404
    assert client.get(f"{given_url()}/..%2f..%2forl.sqlite").status_code == 404
    monkeypatch.setattr(given, "MOST_PIXELS", 200 * 120 - 1)
    assert answer(png()) == (422, "Cannot search with it: too many pixels (200 × 120).")
    monkeypatch.setattr(given, "MOST_BYTES", 1 << 20)
    assert answer(bytes((1 << 20) + 1)) == (413, "Cannot search with it: larger than 1 MB.")
    assert not (here.search / "given").exists()


def test_links_that_lead_nowhere_are_sentences(here: Workspace, show: Show) -> None:
    for query, sentence in (
        ({"photo": "0" * 32}, "The picture of this link is not kept any more. Drop it here again."),
        ({"q": "77"}, "There is no photo 77 in this dataset. Choose one on the Explore page."),
        (
            {"q": "3", "box": "0-0-9000-10"},
            "The box 0,0,9000,10 (x, y, w, h) is not inside the photo of 480 × 360 pixels.",
        ),
    ):
        at = show("search", **query)
        assert not at.exception
        assert [warning.value.replace("\\", "") for warning in at.warning] == [sentence]
        assert component(at, 0)["photo"] is None
    at = show("search")
    assert "find the most similar of all" in plain(at)
    assert component(at, 0)["send_to"] == given_url()


def test_a_large_set_is_searched_by_an_index(here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    box = rois_in_set(subject_of(here), 3)[2]
    exact = component(show("search", q="3", box=in_url(box)), 1)["found"]
    searching._found.cache_clear()
    monkeypatch.setattr(search_index, "ALL", 0)
    monkeypatch.setattr(search_page, "PATIENCE", 60)
    at = show("search", q="3", box=in_url(box))
    assert [roi["id"] for roi in component(at, 1)["found"]] == [roi["id"] for roi in exact]
    assert "A compact index of the set chose 1,000 RoIs" in plain(at)
    assert (here.search / "1" / "search.json").exists()


def test_an_index_that_cannot_be_made_is_said_and_can_be_tried_again(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "ALL", 0)
    store = here.embeddings / "starter"
    for file in store.glob("rois-*"):
        file.rename(file.with_name(f"away-{file.name}"))
    preview._opened_features.cache_clear()
    monkeypatch.setattr(search_page, "PATIENCE", 60)
    at = show("search", q="3")
    assert not at.exception
    [problem] = [error.value.replace("\\", "") for error in at.error]
    assert problem.endswith("no stored feature any more. `orl embed --rois` computes them again with 'starter'.")
    for file in store.glob("away-*"):
        file.rename(file.with_name(file.name.removeprefix("away-")))
    preview._opened_features.cache_clear()
    [again] = [button for button in at.button if button.label == "Try again"]
    again.click().run()
    at.run()
    assert len(component(at, 1)["found"]) == 48


def test_a_path_names_a_photo_of_the_dataset(here: Workspace, scenes: Path) -> None:
    subject = subject_of(here)
    for text in ("images/scene-002.jpg", f" {scenes}/images/scene-002.jpg"):
        found = image_of_path(subject, text)
        assert found is not None
        assert found.id == 3
    assert image_of_path(subject, "images/none.jpg") is None
    assert image_of_path(subject, "images/\0.jpg") is None


def test_other_paths_are_read_only_where_photos_may_be_added(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for folder in (tmp_path, tmp_path / "in"):
        (folder / "photo.png").write_bytes(png())
        (folder / "secret.txt").write_text("secret")
    os.mkfifo(tmp_path / "in" / "fifo.png")
    assert given.keep_file(f"{tmp_path}/photo.png").width == 200
    monkeypatch.setattr(given, "read_only", lambda: True)
    with pytest.raises(UserError, match="This explorer is read-only and reads no files by their path"):
        given.keep_file(f"{tmp_path}/photo.png")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "in"))
    assert given.keep_file(f"{tmp_path}/in/photo.png").height == 120
    for name, sentence in (
        ("photo.png", "is not below"),
        ("in/../photo.png", "is not below"),
        ("in/none.png", "There is no file"),
        ("in/fifo.png", "There is no file"),
        ("in/secret.txt", "not an image that Pillow can identify"),
    ):
        with pytest.raises(UserError, match=sentence):
            given.keep_file(f"{tmp_path}/{name}")
    with pytest.raises(UserError, match="Enter the path of a picture on the server"):
        given.keep_file("a\0b")


def test_a_found_roi_opens_beside_the_query_or_alone(here: Workspace, show: Show) -> None:
    subject = subject_of(here)
    own, near = rois_in_set(subject, 3), neighbors_of(here.store, 1, 3)
    there = near[1].image
    box = rois_in_set(subject, there.id)[4]
    assert pair_of(subject, image(here, 3), own[2], there, box) == {"q": "3", "nn": "2", "pair": "2-4"}
    assert pair_of(subject, image(here, 3), (1, 2, 40, 40), there, box) == {"q": "3", "nn": "2", "roi": "n4"}
    assert pair_of(subject, image(here, 3), own[2], image(here, 3), own[5]) == {"q": "3", "roi": "q5"}
    assert pair_of(subject, None, own[2], there, box) == {"q": str(there.id), "roi": "q4"}
    far = next(i for i in range(1, 13) if i != 3 and i not in {n.image.id for n in near})
    asked = pair_of(subject, image(here, 3), own[2], image(here, far), rois_in_set(subject, far)[0])
    assert asked == {"q": "3", "nn": "0", "with": str(far), "pair": "2-0"}
    at = show("pair", **asked)
    assert not at.exception
    sent = component(at)
    assert (sent["neighbor"]["rank"], sent["neighbor"]["id"], sent["can_judge"]) == (0, far, False)
    assert [neighbor["rank"] for neighbor in sent["neighbors"]] == [0, 1, 2, 3, 4]
    assert (sent["selected"], "beside it, not as a neighbour, images/" in sent["caption"][1]) == (
        {"q": 2, "k": 0},
        True,
    )
    assert component(show("pair", q="3", **{"with": "999"}))["neighbor"]["rank"] == 1


def test_a_result_of_a_set_that_was_deleted_meanwhile_does_not_open(
    here: Workspace, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = show("search", set="demo-starter", q="1").session_state["search-shown"]
    work.delete(here, "demo-starter", "")
    session = {"search-shown": kept, "search-results": SimpleNamespace(open={"id": next(iter(kept[2]))})}
    toasts: list[str] = []
    monkeypatch.setattr("orl_explorer.app.pages.search.page.st.session_state", session)
    monkeypatch.setattr("orl_explorer.app.pages.shell.st.toast", lambda said, **_: toasts.append(said))
    search_page._open()
    assert toasts == ["The set demo\\-starter was deleted, so this result cannot be opened\\."]


def seen(number: int) -> Seen:
    """Return a side of the Pair page."""
    rejected = (Rejected(7, (5, 6, 7, 8), "size", "small", None),)
    return Seen(SeenPhoto(number, f"{number}.jpg", 0, 90, 90), ((1, 2, 30, 40), (3, 4, 50, 60)), rejected, {}, False)


def test_a_verdict_of_the_pair_page_is_on_the_pair_that_the_browser_means() -> None:
    shown = PairOnScreen(seen(4), seen(9), None)  # type: ignore[arg-type]
    query, key = {"photo": 4, "box": [3, 4, 50, 60]}, {"photo": 9, "box": [1, 2, 30, 40]}
    assert sides_named(shown, 1, 0, [query, key]) == ((4, (3, 4, 50, 60)), (9, (1, 2, 30, 40)))
    assert sides_named(shown, 1, 0, [query, {**key, "photo": 8}]) is None  # another neighbour came on screen
    assert sides_named(shown, 0, 0, [query, key]) is None  # other settings gave the index to another RoI
    assert sides_named(shown, 1, 2, [query, key]) is None
    assert sides_named(shown, -1, 0, [query, key]) is None
    assert sides_named(shown, 1, 0, None) is None


def test_a_box_of_the_pair_page_is_searched_with() -> None:
    shown = PairOnScreen(seen(4), seen(9), None)  # type: ignore[arg-type]
    for name, asked in (
        ("q1", {"q": "4", "box": "3-4-50-60"}),
        ("n0", {"q": "9", "box": "1-2-30-40"}),
        ("nx7", {"q": "9", "box": "5-6-7-8"}),
        ("q9", {"q": "4"}),
        ("", {"q": "4"}),
    ):
        assert example_named(shown, RoiName.parse(name)) == asked


def test_the_command_and_the_api_find_the_same(here: Workspace, scenes: Path) -> None:
    box = rois_in_set(subject_of(here), 3)[2]
    photo, text = str(scenes / "images" / "scene-002.jpg"), ",".join(map(str, box))
    asked = ("search", photo, "--box", text, "--workspace", str(here.path))
    found = json.loads(shell(*asked, "--top", "5", "--json").stdout)
    expected = plainly(here, 3, box)
    others = [row for row in found if row["image_id"] != 3]
    assert [row["roi_id"] for row in others] == [roi for roi, _ in expected[: len(others)]]
    assert (found[0]["image_id"], found[0]["similarity"]) == (3, 1.0)
    table = orl.open_workspace(here.path, bars=False).search("demo-starter", photo, box, top=5)
    columns = [name for name in found[0] if name != "category"]
    assert table[columns].to_dict("records") == [{name: row[name] for name in columns} for row in found]
    assert table.category.fillna("").tolist() == [row["category"] or "" for row in found]
    said = " ".join(shell(*asked, "--top", "3", "--once").stdout.split())
    assert (
        f"3 RoIs of {len(expected) + len(rois_in_set(subject_of(here), 3))} in 'demo-starter', by the box {text} of"
        in said
    )
    grown = " ".join(
        shell("search", photo, "--box", "9,9,2,2", "--workspace", str(here.path), "--top", "1").stdout.split()
    )
    assert "The box was grown to a cell of the encoder's map" in grown
    wrong = orl.open_workspace(here.path, bars=False)
    with pytest.raises(UserError, match="There is no filter 'colour' of a search"):
        wrong.search("demo-starter", photo, colour="red")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--box", "1,2,3"), "Invalid value for --box: '1,2,3'. Use X,Y,W,H in whole pixels, such as 40,60,200,150."),
        (("--box", "0,0,999,9"), "is not inside the photo of 480 × 360 pixels."),
        (("--set", "none"), "There is no correspondence set 'none'."),
    ],
)
def test_the_command_refuses_in_a_sentence(here: Workspace, scenes: Path, more: tuple[str, ...], sentence: str) -> None:
    photo = str(scenes / "images" / "scene-002.jpg")
    assert sentence in " ".join(refused("search", photo, *more, "--workspace", str(here.path)).split())
