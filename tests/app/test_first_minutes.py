"""What a newcomer meets: the three stages, the line of state, and the words."""

from __future__ import annotations

from pathlib import Path

import pytest

from orl_explorer.app.explorer.glossary import TERMS
from orl_explorer.app.pages.guide.start import steps
from orl_explorer.app.pages.shell import Place
from orl_explorer.db.encoders import add_encoder, encoder_named
from orl_explorer.db.models import Encoder
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import words


def told(place: Place) -> list[tuple[str, list[str]]]:
    return [(step["state"], [link["page"] for link in step["links"]]) for step in steps(place)]


def trained(here: Workspace, kind: str) -> None:
    like = encoder_named(here.store, "starter")
    row = Encoder(name=kind, architecture=like.architecture, kind=kind, supervised=False, weights_sha256="a" * 64)
    row.weights_path, row.image_features, row.roi_features = like.weights_path, like.image_features, like.roi_features
    add_encoder(here.store, row)


def test_the_first_stage_that_is_not_done_is_the_next(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, mined = dataset_named(here.store, "demo"), find_set(here.store, "demo-starter")
    assert told(Place(here, dataset, None)) == [("done", ["pretrain"]), ("next", []), ("later", [])]
    assert told(Place(here, dataset, mined)) == [
        ("done", ["pretrain"]),
        ("done", ["matches", "tune"]),
        ("next", ["train"]),
    ]
    trained(here, "stage1")
    trained(here, "stage3")
    assert told(Place(here, dataset, mined)) == [("done", []), ("done", ["matches", "tune"]), ("done", ["results"])]
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    assert told(Place(here, dataset, None))[0] == ("done", [])


def test_without_an_encoder_the_first_stage_is_next(nowhere: Workspace) -> None:
    assert told(Place(nowhere, None, None)) == [("next", ["pretrain"]), ("later", []), ("later", [])]


def test_every_page_says_how_far_the_work_has_come(here: Workspace, show: Show) -> None:
    for page in ("explore", "matches", "pair", "tune", "compare", "attention", "map", "sets", "train"):
        assert "12 photos · 1 set · no trained encoder" in words(show(page)), page
    trained(here, "stage3")
    assert "12 photos · 1 set · 1 trained encoder" in words(show("sets"))


def test_words_are_explained_in_one_line_each() -> None:
    assert all(len(text) <= 120 and text.endswith(".") for text in TERMS.values())
    assert {"RoI", "pair", "margin", "correspondence set", "encoder"} <= TERMS.keys()


def test_empty_views_of_the_page_train_offer_what_to_do(nowhere: Workspace, scenes: Path, show: Show) -> None:
    ingest(nowhere, scenes)
    for view in ("watch", "runs", "lineage"):
        at = show("train", view=view)
        next(b for b in at.button if b.label == "Launch a run").click().run()
        assert at.query_params["view"] == "launch", view
    at = show("train", view="launch", stage="evaluate")
    next(b for b in at.button if b.label == "Add the starter encoder").click().run()
    assert not at.exception
    assert encoder_named(nowhere.store, "starter").supervised
