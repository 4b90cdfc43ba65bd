"""Numbers in URLs: those that no id can have are answered in one sentence, and never converted."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orl_explorer.app.server import downloads, pictures, points
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.train.workspace import Workspace

ROUTES = [*pictures.ROUTES, *points.POINT_ROUTES, *downloads.ROUTES]
PLACES = [(route.path, name) for route in ROUTES for name in re.findall(r"{(\w+):number}", route.path)]
SENTENCE = "There is nothing with a number above 2147483647."


def test_every_number_of_a_route_is_bounded() -> None:
    assert len(PLACES) == 17
    assert not any(":int}" in route.path for route in ROUTES)


@pytest.mark.parametrize("digits", [10, 30, 5000])
@pytest.mark.parametrize(("path", "name"), PLACES)
def test_a_number_of_thousands_of_digits_is_a_404_in_one_sentence(
    here: Workspace, path: str, name: str, digits: int
) -> None:
    url = path.replace(f"{{{name}:number}}", "9" * digits)
    url = re.sub(r"{\w+:number}", "1", url).replace("{store}", picture_urls().store)
    url = url.replace("{box}", "1-1-9-9").replace("{column}", "places").replace("{form}", "csv")
    answer = TestClient(Starlette(routes=ROUTES)).get(url)
    assert (answer.status_code, answer.text) == (404, SENTENCE)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("crop/1/1-1-9-" + "9" * 5000, "A box is x-y-w-h."),
        ("attention/1/1?roi=1-1-1-9-" + "9" * 5000, "A RoI is image-x-y-w-h."),
        ("attention/1/1?roi=99999999999-1-1-9-9", "There is no photo 99999999999."),
        ("attention/1/1?point=1-1-" + "9" * 5000, "A point is image-x-y."),
        ("photo/2147483647/320", "There is no photo 2147483647."),
    ],
)
def test_numbers_within_a_part_of_a_url_are_bounded_too(here: Workspace, path: str, sentence: str) -> None:
    answer = TestClient(Starlette(routes=ROUTES)).get(f"{picture_urls().prefix}/{path}")
    assert (answer.status_code, answer.text) == (404, sentence)
