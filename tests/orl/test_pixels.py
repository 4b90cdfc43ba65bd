"""Photos as the viewer shows them, and photos that cannot be read."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orl_explorer.orl import opening
from orl_explorer.orl.opening import as_rgb
from orl_explorer.orl.pixels import (
    Crop,
    Stamp,
    UnreadableImage,
    file_digest,
    is_same_file,
    probe_image,
    read_crops,
    read_image,
    upright_box,
)
from tests.orl.drawn import PATCH, STORED, gradient, noise, save_with_orientation

FORMATS = ("jpg", "png", "gif", "webp")


def red_box(image: Image.Image) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(np.asarray(image)[..., 0] > 128)
    x, y = int(columns.min()), int(rows.min())
    return x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_follows_its_photo_into_the_frame_that_is_shown(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = save_with_orientation(tmp_path / f"photo{suffix}", orientation)
    shown = read_image(path)
    assert probe_image(path)[:3] == (shown.width, shown.height, orientation)
    assert shown.size == (STORED if orientation < 5 else STORED[::-1])
    assert upright_box(PATCH, orientation, *STORED) == red_box(shown)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_means_none(tmp_path: Path, orientation: int) -> None:
    assert probe_image(save_with_orientation(tmp_path / "photo.jpg", orientation))[:3] == (64, 40, 1)


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
    monkeypatch.setattr(opening, "MOST_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match=r"more than 1000 pixels \(64 × 48\)"):
        probe_image(tmp_path / "bomb.png")


def test_a_photo_beyond_the_range_of_a_box_is_refused(tmp_path: Path) -> None:
    Image.new("L", (2, 32768)).save(tmp_path / "long.png")
    with pytest.raises(UnreadableImage, match=r"larger than 32767 pixels on a side \(2 × 32768\)"):
        probe_image(tmp_path / "long.png")


RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))  # from black to white


@pytest.mark.parametrize("orientation", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_grey_of_16_bits_is_read_by_value(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = orientation == 3 and suffix in ("png", "tif")  # the other two keep no EXIF
    Image.fromarray(RAMP).save(path, **({"exif": exif} if turned else {}))
    expected = np.round(RAMP / 257)[::-1, ::-1] if turned else np.round(RAMP / 257)
    assert expected.max() == 255
    assert probe_image(path)[:2] == (64, 48)
    read = np.asarray(read_image(path))
    assert np.array_equal(read, np.repeat(expected[..., None], 3, axis=2))
    [crop] = read_crops(path, lambda *_: [Crop((0, 0, 48, 48), 48)])
    assert np.array_equal(crop, read[:, :48])


def test_the_middle_of_16_bits_is_the_middle_of_8(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32767, 32896, 65406, 65407, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "photo.png")
    assert np.asarray(read_image(tmp_path / "photo.png"))[0, :, 0].tolist() == [0, 0, 1, 1, 127, 128, 254, 255, 255]


@pytest.mark.parametrize("big_endian", [False, True])
def test_a_tiff_of_either_byte_order_has_the_same_values(tmp_path: Path, big_endian: bool) -> None:
    with_mark = b"MM" if big_endian else b"II"
    order = ">" if big_endian else "<"
    strip = np.array([0, 25_700, 65_535], f"{order}u2").tobytes()
    tags = [(256, 3), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(strip))]
    entries = b"".join(
        struct.pack(f"{order}HHL", tag, 3, 1) + struct.pack(f"{order}HH", value, 0) for tag, value in tags
    )
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}L", 0)
    header = with_mark + struct.pack(f"{order}HL", 42, 8 + len(strip))
    (tmp_path / "photo.tif").write_bytes(header + strip + directory)
    assert np.asarray(read_image(tmp_path / "photo.tif"))[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (RAMP.astype(np.int32), r"pixels of mode I, 32-bit integers, do not define white; save it with 8"),
        ((RAMP / 65535).astype(np.float32), r"pixels of mode F, 32-bit floating-point numbers, do not define white"),
    ],
)
def test_pixels_without_an_agreed_white_are_refused_at_ingest_and_everywhere(
    tmp_path: Path, values: np.ndarray, sentence: str
) -> None:
    path = tmp_path / "photo.tif"
    Image.fromarray(values).save(path)
    for look in (probe_image, read_image, lambda p: read_crops(p, lambda *_: [Crop((0, 0, 9, 9), 9)])):
        with pytest.raises(UnreadableImage, match=sentence):
            look(path)


# One pixel in each mode, the file that keeps it, and what it is in RGB.
PIXELS = [
    ("1", "png", 1, (255, 255, 255)),
    ("L", "png", 100, (100, 100, 100)),
    ("LA", "png", (100, 7), (100, 100, 100)),
    ("P", "png", 1, (10, 20, 30)),
    ("RGB", "png", (10, 20, 30), (10, 20, 30)),
    ("RGBA", "png", (10, 20, 30, 7), (10, 20, 30)),
    ("RGBX", "tif", (10, 20, 30, 0), (10, 20, 30)),
    ("CMYK", "tif", (245, 235, 225, 0), (10, 20, 30)),
    ("YCbCr", "tif", (100, 128, 128), (100, 100, 100)),
    ("LAB", "tif", (255, 128, 128), (255, 255, 255)),
    ("I;16", "png", 25_700, (100, 100, 100)),
    ("I;16B", "tif", 25_700, (100, 100, 100)),
]


@pytest.mark.parametrize(("mode", "suffix", "pixel", "expected"), PIXELS, ids=[p[0] for p in PIXELS])
def test_every_mode_is_read_by_value(
    tmp_path: Path, mode: str, suffix: str, pixel: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    picture = Image.new(mode, (8, 4), 0 if mode == "P" else pixel)
    if mode == "P":
        picture.putpalette([0, 0, 0, 10, 20, 30])
        picture.paste(1, (0, 0, 8, 4))
    path = tmp_path / f"photo.{suffix}"
    picture.save(path)
    assert probe_image(path)[:3] == (8, 4, 1)
    read = np.asarray(read_image(path))
    assert np.abs(read.astype(int) - expected).max() <= 1
    assert read.shape == (4, 8, 3)


@pytest.mark.parametrize(("mode", "pixel"), [("La", (50, 128)), ("RGBa", (50, 50, 50, 128)), ("PA", (1, 7))])
def test_modes_that_no_file_is_written_in_are_read_by_value_too(mode: str, pixel: tuple[int, ...]) -> None:
    picture = Image.new(mode, (1, 1), pixel)
    if mode == "PA":
        picture.putpalette([0, 0, 0, 100, 100, 100])
    expected = (100, 100, 100) if mode == "PA" else (99, 99, 99)  # 50 of 128 parts is 99.6 of 255
    assert as_rgb(picture, None).getpixel((0, 0)) == expected


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest shows what the program hides
def test_an_exif_orientation_of_a_strange_type_does_not_lose_the_photo(tmp_path: Path) -> None:
    # TIFF header, one entry: orientation as two SHORTs instead of one.
    entry = struct.pack("<HHLHH", 0x0112, 3, 2, 6, 6)
    exif = b"Exif\0\0II*\0" + struct.pack("<LH", 8, 1) + entry + struct.pack("<L", 0)
    noise().save(tmp_path / "odd.jpg", exif=exif)
    assert probe_image(tmp_path / "odd.jpg")[:3] == (48, 64, 6)  # the first of the two
    assert read_image(tmp_path / "odd.jpg").size == (48, 64)


def test_a_digest_stands_for_the_content_of_a_file(tmp_path: Path) -> None:
    for name, content in (("one", b"abc"), ("copy", b"abc"), ("other", b"abd")):
        (tmp_path / name).write_bytes(content)
    # The first 64 bits of BLAKE2b are those of a digest of 8 bytes, d8bb14d833d59559, read from the little end.
    assert file_digest(tmp_path / "one") == file_digest(tmp_path / "copy") == DIGEST
    assert file_digest(tmp_path / "other") != DIGEST
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "none")


DIGEST = int.from_bytes(bytes.fromhex("d8bb14d833d59559"), "little", signed=True)


@pytest.mark.parametrize(
    ("size", "mtime_ns", "digest", "same"),
    [
        (3, 7, None, True),
        (3, 7, DIGEST + 1, True),  # as long as nothing has changed, nothing is read
        (3, 8, DIGEST, True),  # only touched
        (3, 8, DIGEST + 1, False),
        (3, 8, None, False),  # nobody knows
        (4, 7, DIGEST, False),
    ],
)
def test_a_file_is_known_again_by_its_stamp(
    tmp_path: Path, size: int, mtime_ns: int, digest: int | None, same: bool
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(b"abc")
    os.utime(path, ns=(7, 7))
    assert is_same_file(path, Stamp(size, mtime_ns, digest)) is same


def test_another_file_in_the_place_of_a_photo_is_refused(tmp_path: Path) -> None:
    path = gradient(tmp_path / "photo.jpg")
    found = path.stat()
    assert read_image(path, Stamp(found.st_size, found.st_mtime_ns, None)).size == (640, 480)
    with pytest.raises(UnreadableImage, match="the file has changed since it was ingested"):
        read_image(path, Stamp(found.st_size + 1, found.st_mtime_ns, None))
    with pytest.raises(UnreadableImage, match="not there any more"):
        read_image(tmp_path / "gone.jpg", Stamp(1, 1, None))


def test_a_photo_as_large_as_a_box_can_say_is_taken(tmp_path: Path) -> None:
    Image.new("L", (2, 32767)).save(tmp_path / "long.png")
    assert probe_image(tmp_path / "long.png")[:3] == (2, 32767, 1)
