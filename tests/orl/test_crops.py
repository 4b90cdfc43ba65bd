"""Crops of photos: their pixels, and how finely a photo is decoded for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as T
from PIL import Image

from orl_explorer.orl.opening import OpenPhoto
from orl_explorer.orl.pixels import (
    Crop,
    UnreadableImage,
    center_crop,
    crop_box,
    decode_photo,
    read_crops,
    read_image,
    reduction,
    resize_short_side,
    squeeze,
    upright_box,
)
from tests.orl.drawn import PATCH, STORED, gradient, noise, save_with_orientation


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes at which photos are decoded, in turn."""
    sizes: list[tuple[int, int]] = []
    real = OpenPhoto.stored

    def seen(photo: OpenPhoto, reduce: int = 1) -> Image.Image:
        sizes.append((image := real(photo, reduce)).size)
        return image

    monkeypatch.setattr(OpenPhoto, "stored", seen)
    return sizes


def test_a_roi_is_cut_without_margin_and_squashed() -> None:
    picture = Image.new("RGB", (50, 40))
    picture.paste((0, 255, 0), (10, 5, 40, 15))
    patch = crop_box(picture, np.array([10, 5, 30, 10]), 24)
    assert patch.shape == (24, 24, 3)
    assert (patch == (0, 255, 0)).all()


@pytest.mark.parametrize(
    "size", [(640, 480), (333, 500), (256, 256), (1001, 257), (20, 90), (206, 206), (412, 206), (322, 644)]
)
def test_the_centre_crop_equals_torchvisions(size: tuple[int, int]) -> None:
    picture = noise(size)
    expected = T.Compose([T.Resize(256), T.CenterCrop(224)])(picture)
    assert np.array_equal(center_crop(picture), np.asarray(expected))


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (90, 20), (206, 206), (206, 412)])
def test_a_whole_photo_is_shrunk_and_squashed_as_by_torchvision(size: tuple[int, int]) -> None:
    picture = noise(size)
    assert np.array_equal(resize_short_side(picture), T.Resize(256)(picture))
    assert np.array_equal(squeeze(picture), T.Resize((640, 640))(picture))
    assert np.array_equal(squeeze(picture, 224), T.Resize((224, 224))(picture))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [200, 90, 40, 20])  # decoded whole, at a half, a quarter and an eighth
def test_crops_are_the_same_however_finely_the_photo_is_decoded(
    tmp_path: Path, orientation: int, suffix: str, size: int
) -> None:
    path = gradient(tmp_path / f"photo{suffix}", orientation)
    boxes = [(7, 11, 220, 205), (33, 40, 400, 380)]
    shown = read_image(path)
    seen: list[tuple[int, int]] = []

    def plan(width: int, height: int) -> list[Crop]:
        seen.append((width, height))
        return [Crop(box, size) for box in boxes]

    crops = read_crops(path, plan)
    assert seen == [shown.size]
    for box, crop in zip(boxes, crops, strict=True):
        assert crop.shape == (size, size, 3)
        assert np.abs(crop.astype(int) - crop_box(shown, np.array(box), size)).mean() < 1.5


def test_a_jpeg_is_decoded_no_finer_than_its_crops_need(tmp_path: Path, decoded: list[tuple[int, int]]) -> None:
    path = gradient(tmp_path / "photo.jpg")
    for size, box in [(100, (0, 0, 199, 400)), (100, (0, 0, 200, 400)), (40, (0, 0, 400, 320)), (10, (0, 0, 400, 320))]:
        read_crops(path, lambda *_, box=box, size=size: [Crop(box, size)])
    read_crops(path, lambda *_: [Crop((0, 0, 400, 320), 10), Crop((0, 0, 50, 50), 40)])  # the finest need counts
    assert decoded == [(640, 480), (320, 240), (80, 60), (80, 60), (640, 480)]


@pytest.mark.parametrize(
    ("sides", "spare", "reduce"),
    [((383,), 2, 1), ((384,), 2, 2), ((400, 383), 2, 1), ((767,), 2, 2), ((768,), 2, 4), ((768,), 1, 8), ((95,), 1, 1)],
)
def test_with_spare_pixels_a_photo_is_reduced_less(sides: tuple[int, ...], spare: int, reduce: int) -> None:
    assert reduction([Crop((0, 0, side, 1000), 96) for side in sides], spare) == reduce


def test_a_jpeg_is_decoded_at_a_part_of_its_size_and_a_png_whole(tmp_path: Path) -> None:
    photo = decode_photo(gradient(tmp_path / "photo.jpg"), 2)
    assert (photo.image.size, photo.width, photo.height, photo.reducible) == ((320, 240), 640, 480, True)
    Image.new("RGB", (640, 480)).save(tmp_path / "photo.png")
    whole = decode_photo(tmp_path / "photo.png", 2)
    assert (whole.image.size, whole.width, whole.height, whole.reducible) == ((640, 480), 640, 480, False)


def test_nothing_from_outside_a_box_bleeds_into_its_crop(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20))
    picture.paste((255, 0, 0), (10, 5, 30, 10))
    picture.save(tmp_path / "photo.png")
    [crop] = read_crops(tmp_path / "photo.png", lambda *_: [Crop((10, 5, 20, 5), 8)])
    assert (crop == (255, 0, 0)).all()


def test_crops_of_a_photo_that_is_gone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="not there any more"):
        read_crops(tmp_path / "gone.jpg", lambda *_: [])


def test_a_jpeg_is_decoded_at_a_quarter_where_that_is_enough(tmp_path: Path, decoded: list[tuple[int, int]]) -> None:
    path = gradient(tmp_path / "photo.jpg")
    read_crops(path, lambda *_: [Crop((0, 0, 400, 320), 80)])
    assert decoded == [(160, 120)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_crops_are_planned_for_the_frame_that_is_shown(tmp_path: Path, orientation: int) -> None:
    seen: list[tuple[int, int]] = []
    path = save_with_orientation(tmp_path / "photo.png", orientation)
    box = upright_box(PATCH, orientation, *STORED)

    def plan(width: int, height: int) -> list[Crop]:
        seen.append((width, height))
        x, y, w, h = map(int, box)
        return [Crop((x, y, w, h), 8)]

    [crop] = read_crops(path, plan)
    assert seen == [(64, 40) if orientation < 5 else (40, 64)]
    assert (crop == (255, 0, 0)).all()


def test_a_roi_is_enlarged_without_overshoot(tmp_path: Path) -> None:
    picture = Image.fromarray(np.repeat(np.array([[50, 50, 200, 200]] * 4, np.uint8)[..., None], 3, axis=2))
    picture.save(tmp_path / "photo.png")
    # Bilinear: between the second and the third pixel a quarter and three quarters of the way, else the nearest.
    expected = [50, 50, 50, 88, 163, 200, 200, 200]
    [crop] = read_crops(tmp_path / "photo.png", lambda *_: [Crop((0, 0, 4, 4), 8)])
    for found in (crop, crop_box(picture, np.array([0, 0, 4, 4]), 8)):
        assert np.abs(found[:, :, 0].astype(int) - expected).max() <= 1


def test_the_centre_crop_has_the_sizes_it_is_asked_for() -> None:
    picture = noise((64, 48))
    expected = T.Compose([T.Resize(24), T.CenterCrop(20)])(picture)
    assert np.array_equal(center_crop(picture, 24, 20), np.asarray(expected))
