"""Pages with a set that was mined by imported vectors, in a workspace without any network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.explorer.paths import VARIABLE
from orl_explorer.app.pages.shell import encoder_label
from orl_explorer.db.encoders import add_encoder, encoder_named, encoders, find_encoder
from orl_explorer.db.models import Encoder
from orl_explorer.db.photos import dataset_named
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.interchange.import_vectors import import_vectors
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.app.conftest import Show
from tests.app.seen import component, plain
from tests.conftest import NewRun
from tests.named import mine

PHOTOS = 6
OBJECTNESS = "Objectness needs attention maps, which 'clip' cannot compute: it is imported vectors without a network."


@pytest.fixture
def here(tmp_path: Path, new_run: NewRun, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """Six photos with three boxes each, of which the third is small, and the set 'seen' by their vectors."""
    draw, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    names = [f"{number}.png" for number in range(PHOTOS)]
    for name in names:
        Image.fromarray(draw.integers(0, 255, (100, 120, 3), np.uint8)).save(folder / name)
    rows = [(name, *box) for name in names for box in ((0, 0, 60, 90), (60, 0, 60, 90), (5, 5, 20, 20))]
    files = {"photos": pd.DataFrame({"path": names}), "boxes": pd.DataFrame(rows, columns=["path", *"xywh"])}
    for name, table in files.items():
        np.save(tmp_path / f"{name}.npy", draw.normal(size=(len(table), 8)))
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    monkeypatch.setenv("ORL_WORKSPACE", str(tmp_path / "here"))
    workspace.cache_clear()
    opened = open_workspace(tmp_path / "here")
    ingest(opened, folder, name="demo")
    import_vectors(opened, [tmp_path / f"{name}.npy" for name in files], dataset_named(opened.store, "demo"), "clip")
    config = MineConfig(neighbors=3, min_size=32, proposals="clip")
    mine(opened, "demo", "clip", "seen", config, run_id=new_run(opened, "mine", "seen"))
    yield opened
    workspace.cache_clear()


def test_a_pair_has_no_attention_and_other_thresholds_use_the_vectors_of_rejected_boxes(
    here: Workspace, show: Show
) -> None:
    at = show("pair", q="1")
    assert not at.exception and not at.error
    sent = component(at)
    assert sent["attention"] is None
    assert (len(sent["query"]["boxes"]), len(sent["query"]["rejected"])) == (2, 1)
    assert "approx" not in [toggle.key for toggle in at.toggle]
    sent = component(show("pair", q="1", size="16"))
    assert (len(sent["query"]["boxes"]), len(sent["query"]["rejected"])) == (3, 0)


def test_settings_that_need_a_network_say_so(here: Workspace, show: Show) -> None:
    assert plain(show("pair", q="1", obj="1")).count(OBJECTNESS) == 1
    at = show("tune", ranked="objectness")
    assert not at.exception
    assert plain(at).count(OBJECTNESS) == 1
    assert "tune-start-numbers" not in [button.key for button in at.button]


def test_tune_tries_thresholds_and_offers_no_other_boxes(here: Workspace, show: Show) -> None:
    at = show("tune", size="16")
    assert not at.exception and not at.error
    assert [list(control.options) for control in at.get("button_group") if "props" in str(control.key)] == [["clip"]]
    table = next(html.proto.body for html in at.get("html") if 'class="tuned"' in html.proto.body)
    assert '<td class="now" data-measure="rois">3.0</td><td>2.0</td>' in table


def test_tune_says_which_boxes_have_no_vector(here: Workspace, show: Show) -> None:
    at = show("tune", size="96", fall="image")
    assert not at.exception
    assert "have no feature yet. They count as RoIs" in plain(at)
    assert "Import vectors of these boxes to count them." in plain(at)
    assert "tune-start-numbers" not in [button.key for button in at.button]


def test_a_photo_without_a_vector_is_not_matched(here: Workspace, show: Show, tmp_path: Path) -> None:
    Image.new("RGB", (120, 100), "teal").save(tmp_path / "photos" / "new.png")
    ingest(here, tmp_path / "photos", name="demo")
    at = show("pair", q=str(PHOTOS + 1))
    assert [error.value.replace("\\", "") for error in at.error] == [
        "'clip' is imported vectors without a network, so nothing new can be computed with it. Import the vectors that "
        "are missing with `orl import features`, or use an encoder with weights."
    ]


def test_pages_that_need_a_network_ask_for_one(here: Workspace, show: Show) -> None:
    assert "No encoder with weights yet. An attention map needs one." in plain(show("attention"))
    assert "No encoder with weights yet." in plain(show("train", view="launch", stage="evaluate"))
    assert encoder_label(encoder_named(here.store, "clip")) == "clip (imported vectors)"


def form(show: Show, files: str, name: str) -> AppTest:
    """Return the page Explore after a check of files."""
    at = show("explore")
    at.text_area(key="import-files").set_value(files)
    at.text_input(key="import-name").set_value(name)
    at = next(button for button in at.button if button.label == "Check files").click().run()
    assert not at.exception
    return at


def test_a_form_checks_and_counts_vectors_before_it_imports_them(here: Workspace, show: Show, tmp_path: Path) -> None:
    files = f"{tmp_path / 'photos.npy'}\n\n '{tmp_path / 'boxes.npy'}'\n"
    at = form(show, files, " theirs ")
    counted = "New encoder 'theirs': 6 vectors of photos with 8 numbers and 18 of boxes with 8 to add."
    assert counted in plain(at)
    assert "Scaled to unit length: 24 vectors." in plain(at)
    assert find_encoder(here.store, "theirs") is None
    at = at.button(key="import-vectors-now").click().run()
    assert not at.exception and not at.error
    row = encoder_named(here.store, "theirs")
    assert (row.kind, row.image_features, row.supervised) == ("vectors", 8, False)
    again = form(show, str(tmp_path / "photos.npy"), "theirs")
    assert "0 vectors of photos with 8 numbers and 0 of boxes with 8 to add; 6 were there already." in plain(again)
    assert again.button(key="import-vectors-now").disabled


@pytest.mark.parametrize(
    ("files", "name", "said"),
    [
        ("", "x", "Enter the files that hold the vectors, one on each line."),
        ("{here}/photos.npy", " ", "Enter the name of the encoder that the vectors become."),
        ("{here}/photos.csv", "x", "{here}/photos.csv ends neither in .npy nor in .parquet."),
        ("{here}/nowhere.npy", "x", "Cannot read {here}/nowhere.npy: No such file or directory."),
        ("{here}/nowhere.parquet", "x", "Cannot read {here}/nowhere.parquet: No such file or directory."),
        ("{here}/boxes.npy", "x", "The files have vectors of boxes alone."),
        ("{here}/photos.npy\0", "x", "A path and a name cannot hold a null character. Remove it."),
    ],
)
def test_a_form_of_vectors_says_what_is_wrong(
    here: Workspace, show: Show, tmp_path: Path, files: str, name: str, said: str
) -> None:
    at = form(show, files.format(here=tmp_path), name)
    assert next(error.value.replace("\\", "") for error in at.error).startswith(said.format(here=tmp_path))
    assert len(encoders(here.store)) == 1


def test_vectors_are_imported_from_below_the_roots_alone(
    here: Workspace, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.setenv(VARIABLE, str(inside))
    (inside / "photos.npy").write_bytes((tmp_path / "photos.npy").read_bytes())
    (inside / "photos.csv").symlink_to(tmp_path / "photos.csv")
    for file in (tmp_path / "photos.npy", inside / "photos.npy"):  # the second has its names outside
        assert "This explorer reads no other folders." in plain(form(show, str(file), "theirs"))
    (inside / "photos.csv").unlink()
    (inside / "photos.csv").write_bytes((tmp_path / "photos.csv").read_bytes())
    assert "6 vectors of photos with 8 numbers and 0 of boxes" in plain(form(show, str(inside / "photos.npy"), "new"))


def test_a_search_without_a_network_is_by_rois_alone(here: Workspace, show: Show) -> None:
    at = show("search", q="2")
    assert not at.exception and not at.error
    asked, results = component(at, 0), component(at, 1)
    assert (asked["box"], asked["whole"], asked["can_draw"]) == ([0, 0, 60, 90], False, False)
    assert len(results["found"]) == 10
    assert "**clip** is imported vectors without a network: a picture or a new box has no vector" in plain(at)
    at = show("search", q="2", box="1-1-50-50")
    assert [error.value.replace("\\", "") for error in at.error] == [
        "'clip' is imported vectors without a network, so a new box has no vector. Search with a RoI of a photo of the "
        "set."
    ]
    assert "Search with a RoI of a photo of the set." in plain(show("search"))


def test_vectors_are_neither_evaluated_nor_shown_as_maps(here: Workspace) -> None:
    weights = {"weights_sha256": "x", "weights_path": "x", "image_features": 8, "roi_features": 8}
    add_encoder(here.store, Encoder(name="net", architecture="resnet18", kind="imported", supervised=False, **weights))
    script = "from orl_explorer.app.pages.train.page import page\npage()\n"
    for name, offered in (("clip", False), ("net", True)):
        at = AppTest.from_string(script, default_timeout=60)
        at.session_state["pages"] = {"attention": None}
        at.query_params["view"] = "lineage"
        at.query_params["node"] = f"encoder-{encoder_named(here.store, name).id}"
        labels = {button.label for button in at.run().button}
        assert not at.exception
        assert "Mine with encoder …" in labels
        assert ("Evaluate encoder …" in labels, "Show attention" in labels) == (offered, offered)
