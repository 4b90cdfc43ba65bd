"""Routes that serve pictures: ids in, cached pictures out, nothing else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orl_explorer.app.server.pictures import ROUTES
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.train.workspace import Workspace


@pytest.fixture
def client(here: Workspace) -> TestClient:
    return TestClient(Starlette(routes=ROUTES))


def test_a_photo_is_resized_cached_and_answered_by_etag(client: TestClient, here: Workspace) -> None:
    first = client.get(picture_urls().photo(1, 7, 320))
    picture = Image.open(io.BytesIO(first.content))
    assert (first.status_code, picture.format, max(picture.size)) == (200, "JPEG", 320)
    assert "immutable" in first.headers["cache-control"]
    assert [p.suffix for p in here.thumbnails.iterdir()] == [".jpg"]
    again = client.get(picture_urls().photo(1, 7, 320), headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_crop_is_the_square_that_the_encoder_sees(client: TestClient) -> None:
    answer = client.get(f"{picture_urls().prefix}/crop/1/10-20-120-100")
    assert Image.open(io.BytesIO(answer.content)).size == (96, 96)


def test_attention_maps_have_the_aspect_of_the_photo(client: TestClient) -> None:
    for roi in (None, (2, (10, 20, 120, 100))):
        answer = client.get(picture_urls().attention(1, 1, roi))
        assert answer.headers["content-type"] == "image/png"
        wide, high = Image.open(io.BytesIO(answer.content)).size
        assert max(wide, high) == 448


@pytest.mark.parametrize(
    "path",
    [
        "photo/999/320",
        "photo/1/321",
        "photo/../../etc/passwd/320",
        "photo/%2e%2e%2fetc%2fpasswd/320",
        "crop/1/0-0-0-5",
        "crop/1/0-0-99999-5",
        "crop/1/0-0-5",
        "crop/1/a-b-c-d",
        "attention/99/1",
        "attention/1/99",
        "attention/1/1?roi=1-0-0-5",
        "attention/1/1?roi=1-0-0-99999-5",
    ],
)
def test_whatever_is_not_there_is_a_404_and_nothing_else(client: TestClient, path: str) -> None:
    assert client.get(f"{picture_urls().prefix}/{path}").status_code == 404


@pytest.mark.parametrize("store", ["000000000000", "map", ".."])
def test_a_picture_of_another_store_is_not_one_of_the_same_ids_here(client: TestClient, store: str) -> None:
    for path in ("photo/1/320", "crop/1/10-20-120-100", "attention/1/1"):
        assert client.get(f"{picture_urls().prefix}/{path}").status_code == 200
        assert client.get(f"/app/static/{store}/{path}").status_code == 404


def test_every_url_of_a_picture_says_of_which_store_it_is(here: Workspace) -> None:
    urls = picture_urls()
    box = np.array([10, 20, 120, 100], np.int16)
    ours = [urls.photo(1, 7), urls.any_photo(320), urls.any_crop, urls.crop(1, box), urls.attention(1, 1)]
    ours.append(urls.any_attention)
    assert all(url.startswith(f"/app/static/{here.store.identity[:12]}/") for url in ours)
    assert urls.crop(1, box).endswith("/crop/1/10-20-120-100")


def test_a_photo_gone_from_disk_says_so(client: TestClient, here: Workspace) -> None:
    from sqlalchemy import update

    from orl_explorer.db.models import Dataset

    with here.store.session() as session:
        session.execute(update(Dataset).values(root="/nowhere/at/all"))
    answer = client.get(picture_urls().photo(1, 7, 320))
    assert (answer.status_code, answer.text) == (404, "the file is not there any more")
    assert answer.headers["cache-control"] == "no-store"
