"""Pages with a set that was mined by imported vectors, in a workspace without any network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.pages.shell import encoder_label
from orl_explorer.db.encoders import encoder_named
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
