"""Photos as the viewer shows them, and photos that cannot be read."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as T
from PIL import Image

from orl_explorer.orl import pixels
from orl_explorer.orl.pixels import (
    Crop,
    UnreadableImage,
    center_crop,
    crop_box,
    probe_image,
    read_crops,
    read_image,
    upright_box,
)

STORED = (64, 40)  # width, height
PATCH = (8, 16, 24, 8)  # x y w h in the stored frame; on JPEG's grid of 8
FORMATS = ("jpg", "png", "gif", "webp")


def save_with_orientation(path: Path, orientation: int) -> Path:
    picture = Image.new("RGB", STORED)
    x, y, w, h = PATCH
    picture.paste((255, 0, 0), (x, y, x + w, y + h))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    picture.save(path, exif=exif, **options)  # type: ignore[arg-type]
    return path


def red_box(image: Image.Image) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(np.asarray(image)[..., 0] > 128)
    x, y = int(columns.min()), int(rows.min())
    return x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_follows_its_photo_into_the_frame_that_is_shown(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = save_with_orientation(tmp_path / f"photo{suffix}", orientation)
    shown = read_image(path)
    assert probe_image(path) == (shown.width, shown.height, orientation)
    assert shown.size == (STORED if orientation < 5 else STORED[::-1])
    assert upright_box(PATCH, orientation, *STORED) == red_box(shown)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_means_none(tmp_path: Path, orientation: int) -> None:
    assert probe_image(save_with_orientation(tmp_path / "photo.jpg", orientation)) == (64, 40, 1)


def noise(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8))


def encoded(suffix: str) -> bytes:
    file = io.BytesIO()
    noise().save(file, Image.registered_extensions()[f".{suffix}"])
    return file.getvalue()


def test_a_jpeg_cut_short_is_unreadable_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded("jpg")[:-1500])
    for look in (probe_image, read_image):
        with pytest.raises(UnreadableImage, match=r"image file is truncated \(\d+ bytes not processed\)"):
            look(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_photo_is_read_or_refused_and_never_crashes(tmp_path: Path, suffix: str) -> None:
    whole = encoded(suffix)
    path = tmp_path / f"photo.{suffix}"
    rng = np.random.default_rng(0)
    refused = 0
    for attempt in range(120):
        damaged = bytearray(whole)
        if attempt % 2:
            damaged = damaged[: int(rng.integers(0, len(whole)))]
        else:
            for at in rng.integers(0, min(len(whole), 600), 8):
                damaged[at] = int(rng.integers(0, 256))
        path.write_bytes(bytes(damaged))
        for look in (probe_image, read_image):
            try:
                look(path)
            except UnreadableImage as error:
                refused += 1
                assert str(error)
    assert refused > 40


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not an image"), (b"to whom it may concern", "not an image"), (None, "the file is not there any more")],
)
def test_what_is_no_image_says_why(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    for look in (probe_image, read_image):
        with pytest.raises(UnreadableImage, match=reason):
            look(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise().save(tmp_path / "bomb.png")
    monkeypatch.setattr(pixels.Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match="more than 1000 pixels"):
        probe_image(tmp_path / "bomb.png")


def test_a_photo_beyond_the_range_of_a_box_is_refused(tmp_path: Path) -> None:
    Image.new("L", (2, 32768)).save(tmp_path / "long.png")
    with pytest.raises(UnreadableImage, match=r"larger than 32767 pixels on a side \(2 × 32768\)"):
        probe_image(tmp_path / "long.png")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_colour_mode_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("photo.tiff" if mode == "CMYK" else "photo.png")
    noise().convert(mode).save(path)
    assert read_image(path).mode == "RGB"
    assert probe_image(path) == (64, 48, 1)


def test_an_exif_orientation_of_a_strange_type_does_not_lose_the_photo(tmp_path: Path) -> None:
    # TIFF header, one entry: orientation as two SHORTs instead of one.
    entry = struct.pack("<HHLHH", 0x0112, 3, 2, 6, 6)
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 1) + entry + struct.pack("<L", 0)
    noise().save(tmp_path / "odd.jpg", exif=exif)
    width, height, _ = probe_image(tmp_path / "odd.jpg")
    assert sorted((width, height)) == [48, 64]


def test_a_roi_is_cut_without_margin_and_squashed() -> None:
    picture = Image.new("RGB", (50, 40))
    picture.paste((0, 255, 0), (10, 5, 40, 15))
    patch = crop_box(picture, np.array([10, 5, 30, 10]), 24)
    assert patch.shape == (24, 24, 3)
    assert (patch == (0, 255, 0)).all()


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (256, 256), (1001, 257), (20, 90)])
def test_the_centre_crop_equals_torchvisions(size: tuple[int, int]) -> None:
    picture = noise(size)
    expected = T.Compose([T.Resize(256), T.CenterCrop(224)])(picture)
    assert np.array_equal(center_crop(picture), np.asarray(expected))


def gradient(path: Path, orientation: int = 1) -> Path:
    """640 x 480 as stored: red grows to the right, green downward."""
    y, x = np.mgrid[0:480, 0:640]
    picture = np.stack([x * 255 // 639, y * 255 // 479, np.zeros_like(x)], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path, quality=95, exif=exif)
    return path


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


def test_a_jpeg_is_decoded_no_finer_than_its_crops_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gradient(tmp_path / "photo.jpg")
    decoded: list[tuple[int, int]] = []
    real = pixels.ImageOps.exif_transpose
    monkeypatch.setattr(pixels.ImageOps, "exif_transpose", lambda image: (decoded.append(image.size), real(image))[1])
    for size, box in [(100, (0, 0, 199, 400)), (100, (0, 0, 200, 400)), (40, (0, 0, 400, 320)), (10, (0, 0, 400, 320))]:
        read_crops(path, lambda *_, box=box, size=size: [Crop(box, size)])
    read_crops(path, lambda *_: [Crop((0, 0, 400, 320), 10), Crop((0, 0, 50, 50), 40)])  # the finest need counts
    assert decoded == [(640, 480), (320, 240), (80, 60), (80, 60), (640, 480)]


def test_nothing_from_outside_a_box_bleeds_into_its_crop(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20))
    picture.paste((255, 0, 0), (10, 5, 30, 10))
    picture.save(tmp_path / "photo.png")
    [crop] = read_crops(tmp_path / "photo.png", lambda *_: [Crop((10, 5, 20, 5), 8)])
    assert (crop == (255, 0, 0)).all()


def test_crops_of_a_photo_that_is_gone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="not there any more"):
        read_crops(tmp_path / "gone.jpg", lambda *_: [])
