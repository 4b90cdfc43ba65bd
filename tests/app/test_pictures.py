"""Routes that serve cached pictures by id, and nothing else."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from orl_explorer.app.explorer import opened
from orl_explorer.app.server import pictures
from orl_explorer.app.server.pictures import ROUTES
from orl_explorer.app.server.urls import picture_urls
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.orl.pixels import DecodedPhoto, UnreadableImage, crop_box, read_image
from orl_explorer.train.ingest.ingest import ingest
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


@pytest.fixture
def large(here: Workspace, scenes: Path, tmp_path: Path) -> list[tuple[int, Path]]:
    """Demo scenes enlarged six times to some 2,900 x 2,200, as a dataset of their own: ids and files."""
    (tmp_path / "large").mkdir()
    for file in sorted((scenes / "images").glob("*.jpg"))[:4]:
        with Image.open(file) as scene:
            scene.resize((scene.width * 6, scene.height * 6)).save(tmp_path / "large" / file.name, quality=92)
    ingest(here, tmp_path / "large", name="large")
    dataset = dataset_named(here.store, "large")
    return [(image.id, tmp_path / "large" / image.path) for image in usable_images(here.store, dataset.id)]


BOXES = [(3, 5, 100, 120), (7, 11, 300, 290), (40, 30, 500, 450), (101, 77, 900, 860), (13, 9, 1700, 1650)]


@pytest.mark.parametrize(("box", "tolerance"), [(BOXES[0], 0), (BOXES[1], 0), *((box, 4) for box in BOXES[2:])])
def test_a_crop_looks_as_if_the_photo_had_been_decoded_whole(
    client: TestClient, large: list[tuple[int, Path]], box: tuple[int, ...], tolerance: float
) -> None:
    """Tolerance of the mean over a crop, of 255. A JPEG of quality 85 differs by 2 from its source."""
    for image_id, file in large:
        shown = Image.open(io.BytesIO(client.get(picture_urls().crop(image_id, box)).content))
        slow = io.BytesIO()
        Image.fromarray(crop_box(read_image(file), np.array(box), 96)).save(slow, "JPEG", quality=85)
        difference = np.asarray(shown).astype(int) - np.asarray(Image.open(slow))
        assert np.abs(difference).mean() <= tolerance
        assert abs(difference.mean()) <= tolerance / 8


def test_crops_and_photos_are_made_once(client: TestClient, here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = picture_urls()
    asked = [urls.photo(1, 7, 320), urls.crop(1, (10, 20, 120, 100)), urls.crop(1, (10, 20, 120, 101))]
    first = [client.get(url).content for url in asked]
    assert len(list(here.thumbnails.iterdir())) == 3

    def refused(*_: object) -> None:
        raise UnreadableImage("decoded again")

    monkeypatch.setattr(pictures, "_decoded", refused)
    assert [client.get(url).content for url in asked] == first


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Record the file and the reduction of each decoding. At first, no decoded photo is kept."""
    pictures._DECODED.clear()
    seen: list[tuple[str, int]] = []
    real = pictures.decode_photo

    def recorded(file: Path, reduce: int = 1) -> DecodedPhoto:
        seen.append((file.name, reduce))
        return real(file, reduce)

    monkeypatch.setattr(pictures, "decode_photo", recorded)
    return seen


def test_many_crops_of_a_photo_decode_it_once(
    client: TestClient, large: list[tuple[int, Path]], decodings: list[tuple[str, int]]
) -> None:
    """Also if they are requested at the same time. Large crops of a JPEG need only a part of its pixels."""
    image_id, file = large[0]
    boxes = [(n, n, 100 + n, 100 + n) for n in range(16)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda box: client.get(picture_urls().crop(image_id, box)).status_code, boxes))
    assert answers == [200] * 16
    assert client.get(picture_urls().photo(image_id, 7, 1280)).status_code == 200
    assert decodings == [(file.name, 1)]
    for box in ((0, 0, 800, 800), (9, 9, 900, 900)):
        assert client.get(picture_urls().crop(image_id, box)).status_code == 200
    assert decodings == [(file.name, 1), (file.name, 4)]


def test_a_png_is_decoded_once_for_crops_of_all_sizes(
    client: TestClient, here: Workspace, tmp_path: Path, decodings: list[tuple[str, int]]
) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (1000, 900), "teal").save(tmp_path / "one" / "photo.png")
    ingest(here, tmp_path / "one", name="one")
    [image] = usable_images(here.store, dataset_named(here.store, "one").id)
    for side in (100, 400, 800, 120):
        assert client.get(picture_urls().crop(image.id, (0, 0, side, side))).status_code == 200
    assert len(decodings) == 1
    assert client.get(picture_urls().crop(image.id, (0, 0, 1001, 9))).text == "The box is not inside the photo."
    assert len(decodings) == 1


def test_three_photos_are_decoded_at_once(
    client: TestClient, large: list[tuple[int, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures._DECODED.clear()
    now, most, lock, three = [0], [0], threading.Lock(), threading.Event()

    def slow(file: Path, reduce: int = 1) -> DecodedPhoto:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == 3:
                three.set()
        three.wait(30)
        time.sleep(0.05)  # a fourth would begin meanwhile
        with lock:
            now[0] -= 1
        return DecodedPhoto(Image.new("RGB", (3000, 3000)), 3000, 3000, False)

    monkeypatch.setattr(pictures, "decode_photo", slow)
    urls = [picture_urls().crop(n, (0, 0, 50, 50)) for n in (1, 2, 3, 4, 5, 6, large[0][0], large[1][0])]
    with ThreadPoolExecutor(8) as threads:
        assert {answer.status_code for answer in threads.map(client.get, urls)} == {200}
    assert most == [3]


def test_a_photo_that_changed_has_other_pictures(client: TestClient, here: Workspace, tmp_path: Path) -> None:
    def pictures_of(colour: str) -> list[tuple[int, ...]]:
        Image.new("RGB", (200, 150), colour).save(tmp_path / "one" / "photo.png")
        ingest(here, tmp_path / "one", name="one")
        [image] = usable_images(here.store, dataset_named(here.store, "one").id)
        urls = (picture_urls().photo(image.id, image.mtime_ns, 320), picture_urls().crop(image.id, (0, 0, 100, 100)))
        answers = [Image.open(io.BytesIO(client.get(url).content)) for url in urls]
        return [answer.convert("RGB").getpixel((50, 50)) for answer in answers]  # type: ignore[misc]

    (tmp_path / "one").mkdir()
    assert pictures_of("white") == [(255, 255, 255)] * 2
    assert pictures_of("black") == [(0, 0, 0)] * 2


def test_a_damaged_picture_is_not_served(client: TestClient, here: Workspace) -> None:
    url = picture_urls().crop(1, (10, 20, 120, 100))
    first = client.get(url).content
    [file] = here.thumbnails.iterdir()
    file.write_bytes(file.read_bytes()[:-200])
    assert client.get(url).content == first


def test_pictures_are_shown_where_none_can_be_kept(client: TestClient, here: Workspace) -> None:
    here.thumbnails.write_bytes(b"a file in the place of the folder")
    for url in (picture_urls().photo(1, 7, 320), picture_urls().crop(1, (10, 20, 120, 100))):
        assert client.get(url).status_code == 200


def test_a_read_only_explorer_keeps_no_picture_on_disk(
    client: TestClient, here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = picture_urls().photo(1, 7, 320)
    kept = client.get(picture_urls().photo(1, 8, 320)).content
    before = [(file.name, file.stat().st_mtime_ns) for file in here.thumbnails.iterdir()]
    monkeypatch.setenv("ORL_READ_ONLY", "1")
    opened.workspace.cache_clear()
    first = client.get(url).content
    with monkeypatch.context() as without:
        without.setattr(pictures, "_decoded", lambda *_: 1 // 0)
        assert client.get(url).content == first  # from memory
        assert client.get(picture_urls().photo(1, 8, 320)).content == kept  # from the disk
    assert [(file.name, file.stat().st_mtime_ns) for file in here.thumbnails.iterdir()] == before


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
