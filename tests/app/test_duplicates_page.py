"""`orl duplicates`, the page Near-duplicates and its download."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from typer.testing import CliRunner

from orl_explorer.app.cli import app
from orl_explorer.app.explorer import duplicates
from orl_explorer.app.server.downloads import ROUTES, duplicates_url
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.mining.duplicates import duplicates_csv, find_duplicates
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import words

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
    at = show("duplicates", t=f"{ALIKE}")
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
    assert [s.value for s in show("duplicates", t="1").success] == ["No photos are nearly the same at this similarity."]
    monkeypatch.setattr(duplicates, "MOST", 11)
    monkeypatch.setattr("orl_explorer.app.pages.duplicates.page.MOST", 11)
    at = show("duplicates")
    assert "This page compares at most 11 photos." in words(at)
    done = TestClient(Starlette(routes=ROUTES)).get(duplicates_url(1, 1, 0.95))
    assert (done.status_code, "at most 11 photos" in done.text) == (404, True)
    with here.store.session() as session:
        session.connection().exec_driver_sql("UPDATE image SET digest = digest + 1")
    assert "no encoder has features of all photos yet" in words(show("duplicates"))


def test_a_set_says_how_many_near_duplicates_it_skips(here: Workspace, show: Show) -> None:
    mined = complete_set_named(here.store, "demo-starter")
    assert "nobody's neighbour" not in words(show("sets"))
    write.note_duplicates(here.store, mined.id, 2, 3)
    told = "3 photos of 2 groups are nobody's neighbour, since the largest photo of each group stands for it."
    assert told in words(show("sets"))
    said = CliRunner().invoke(app, ["sets", "show", "demo-starter", "--workspace", str(here.path)]).output
    assert told in " ".join(said.split())
