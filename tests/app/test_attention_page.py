"""The attention page and its maps: the first view, URL parameters, and the cell of a point."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orl_explorer.app.explorer import heat
from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.pages.attention.page import side_by_side
from orl_explorer.app.server.pictures import ROUTES
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import Encoder
from orl_explorer.db.sets.read import find_set, neighbors_of, rois_of
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component


def encoder(name: str, kind: str, number: int = 0) -> Encoder:
    return Encoder(
        id=number or None,
        name=name,
        architecture="resnet18",
        kind=kind,
        supervised=False,
        weights_sha256=f"{number:064}",
        weights_path=f"encoders/{name}.pt",
        image_features=16,
        roi_features=512,
    )


@pytest.fixture
def client(here: Workspace) -> TestClient:
    return TestClient(Starlette(routes=ROUTES))


def test_a_photo_its_neighbours_and_its_rois_are_sent(here: Workspace, show: Show) -> None:
    at = show("attention", q="3", neighbours="2")
    assert not at.exception
    payload = component(at)
    mined = find_set(here.store, "demo-starter")
    assert mined is not None
    nearest = neighbors_of(here.store, mined.id, 3)
    assert payload["query"]["name"] == "scene-002.jpg"
    assert [n["id"] for n in payload["neighbors"]] == [n.image.id for n in nearest[:2]]
    assert payload["rois"] == rois_of(here.store, mined.id, [3])[3].boxes.tolist()
    assert payload["look"] == {"to": "", "opacity": 0.6, "layer": "overlay", "cells": False, "own": False}


def test_supervised_encoders_say_so_and_any_number_stands_side_by_side(here: Workspace, show: Show) -> None:
    for number in range(2, 6):
        add_encoder(here.store, encoder(f"other-{number}", "imported", number))
    at = show("attention", q="3")
    assert [c["supervised"] for c in component(at)["encoders"]] == [True, False]
    assert component(at)["encoders"][0]["note"] == "efficientnet_lite0, supervised"
    at.multiselect("encoders").set_value(["starter"]).run()
    assert [c["name"] for c in component(at)["encoders"]] == ["starter"]
    at.multiselect("encoders").set_value(["other-2", "other-3", "starter", "other-5"]).run()
    assert [c["name"] for c in component(at)["encoders"]] == ["other-2", "other-3", "starter", "other-5"]
    at.multiselect("encoders").set_value([]).run()
    assert at.info[0].value == "Choose at least one encoder in the sidebar."


def test_the_newest_of_stage_1_and_stage_3_come_first() -> None:
    starter, byol, better, orl = (
        encoder(name, kind, number)
        for number, (name, kind) in enumerate(
            [("starter", "starter"), ("byol", "stage1"), ("better", "stage1"), ("orl", "stage3")], 1
        )
    )
    given = encoder("given", "imported", 9)
    assert side_by_side([starter, byol, better, orl], own=1) == ["better", "orl"]
    assert side_by_side([starter, byol, better], own=1) == ["starter", "better"]
    assert side_by_side([starter, given], own=9) == ["given", "starter"]
    assert side_by_side([starter], own=1) == ["starter"]
    assert side_by_side([given, orl], own=None) == ["orl", "given"]


def test_what_the_url_says_of_looking_is_obeyed(here: Workspace, show: Show) -> None:
    look = component(show("attention", q="3", to="3-10-20-120-100", alpha="35", layer="map", cells="1", own="1"))[
        "look"
    ]
    assert look == {"to": "3-10-20-120-100", "opacity": 0.35, "layer": "map", "cells": True, "own": True}


@pytest.mark.parametrize("value", ["nan", "-5", "1e99", "3-4", "3--4-5", "9" * 5000, "<b>", ""])
def test_a_senseless_look_in_the_url_does_no_harm(here: Workspace, show: Show, value: str) -> None:
    at = show("attention", q="3", to=value, alpha=value, layer=value, cells=value, neighbours=value, encoders="starter")
    assert not at.exception
    assert component(at)["look"] == {"to": "", "opacity": 0.6, "layer": "overlay", "cells": False, "own": False}


@pytest.mark.parametrize("query", ["99999", "-1", "abc", "9" * 30])
def test_an_unknown_photo_is_a_sentence(here: Workspace, show: Show, query: str) -> None:
    assert not show("attention", q=query).exception


def test_without_photos_or_without_encoders_the_page_says_what_to_do(
    nowhere: Workspace, scenes: Path, show: Show
) -> None:
    from orl_explorer.train.ingest.ingest import ingest

    assert [b.label for b in show("attention").button][:2] == ["Build the demo", "Add photos"]
    ingest(nowhere, scenes, name="demo")
    at = show("attention")
    assert not at.exception
    assert at.info[0].value == "No encoder yet. An attention map needs one."
    assert "Add the starter encoder" in [b.label for b in at.button]


def test_a_point_is_compared_by_the_cell_that_it_falls_in() -> None:
    features = np.arange(6.0).reshape(1, 2, 3)  # cells 0 1 2 over 3 4 5
    found = [heat.at_point(features, x, y)[0] for x, y in [(0, 0), (0.34, 0.49), (0.99, 0.5), (1, 1)]]
    assert found == [0, 1, 5, 5]


def test_a_cell_is_a_pixel_and_a_scale_of_its_own_uses_all_of_it() -> None:
    features = np.array([[[1.0, 0.6, 0.0]], [[0.0, 0.8, 1.0]]])  # cosine to (0.6, 0.8): 0.6, 1, 0.8
    like = np.array([0.6, 0.8])

    def brightness(png: bytes) -> list[int]:
        return np.asarray(Picture.open(io.BytesIO(png)).convert("L"))[0].astype(int).tolist()

    absolute, own = (brightness(heat.painted(features, like, cells=True, own=own)) for own in (False, True))
    assert len(absolute) == len(own) == 3
    assert absolute[1] == own[1] == max(own)
    assert 0 < own[0] + 1 < 5 < absolute[0] < absolute[2]  # the least is black only on its own scale


def test_a_map_for_a_point_is_brightest_where_the_point_is(client: TestClient) -> None:
    answer = client.get(f"{picture_urls().prefix}/attention/1/1?point=1-250-200&cells=1")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    picture = np.asarray(Picture.open(io.BytesIO(answer.content)).convert("L")).astype(int)
    high, wide = picture.shape
    assert 14 in (high, wide)
    y, x = np.unravel_index(picture.argmax(), picture.shape)
    from orl_explorer.db.photos import image_by_id

    found = image_by_id(workspace().store, 1)
    assert found is not None
    assert (x, y) == (250 * wide // found[0].width, 200 * high // found[0].height)
    smooth = client.get(f"{picture_urls().prefix}/attention/1/1?point=1-250-200")
    assert max(Picture.open(io.BytesIO(smooth.content)).size) == 448


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("point=1-99999-5", "The point is not inside the photo."),
        ("point=1-5-99999", "The point is not inside the photo."),
        ("point=1-5", "A point is image-x-y."),
        ("point=1--5-5", "A point is image-x-y."),
        ("point=1-1.5-2", "A point is image-x-y."),
        ("point=" + "9" * 400 + "-1-1", "A point is image-x-y."),
        ("point=777-1-1", "There is no photo 777."),
        ("point=99999999999-1-1", "There is no photo 99999999999."),
        ("point=../../etc-1-1", "A point is image-x-y."),
        ("roi=1-0-0-99999-5", "The box is not inside the photo."),
        ("roi=1-2-3-4", "A RoI is image-x-y-w-h."),
    ],
)
def test_a_forged_target_is_refused_with_a_sentence(client: TestClient, target: str, sentence: str) -> None:
    answer = client.get(f"{picture_urls().prefix}/attention/1/1?{target}")
    assert (answer.status_code, answer.text) == (404, sentence)


@pytest.mark.parametrize("path", ["99999999999999999999/1", "1/99999999999999999999", "1/-1", "x/1", "1/1/1"])
def test_ids_beyond_the_store_are_not_found(client: TestClient, path: str) -> None:
    assert client.get(f"{picture_urls().prefix}/attention/{path}").status_code == 404


def test_an_encoder_whose_weights_are_gone_is_a_sentence(here: Workspace, client: TestClient) -> None:
    add_encoder(here.store, encoder("lost", "imported", 7))
    answer = client.get(f"{picture_urls().prefix}/attention/7/1")
    assert answer.status_code == 404
    assert answer.text.startswith("The weights of the encoder 'lost' are missing")


def test_a_photo_gone_from_disk_is_a_sentence_in_place_of_its_map(client: TestClient, here: Workspace) -> None:
    from sqlalchemy import update

    from orl_explorer.db.models import Dataset

    with here.store.session() as session:
        session.execute(update(Dataset).values(root="/nowhere/at/all"))
    answer = client.get(f"{picture_urls().prefix}/attention/1/2?own=1")
    assert (answer.status_code, answer.text) == (404, "the file is not there any more")
