"""What a photo's file says of its size and orientation is what its pixels have, and nothing but one error leaves."""

from __future__ import annotations

import os
import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orl_explorer.orl import opening
from orl_explorer.orl.pixels import Crop, UnreadableImage, probe_image, read_crops, read_image

# The letter F has no symmetry: as stored, in each orientation it looks different.
STORED = np.zeros((40, 64), np.uint8)
STORED[4:36, 8:16] = STORED[4:12, 8:40] = STORED[20:28, 8:32] = 255
SHOWN = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: STORED[::-1].T,
    7: STORED[::-1, ::-1].T,
    8: STORED[:, ::-1].T,
}


def grey_of(path: Path) -> np.ndarray:
    """Return the pixels of a photo, after checking that the three readers agree on its size."""
    seen = []
    read_crops(path, lambda w, h: seen.append((w, h)) or [Crop((0, 0, w, h), 1)])
    shown = read_image(path)
    assert probe_image(path)[:2] == shown.size == seen[0]
    return np.asarray(shown)[..., 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        *product(["L", "RGB"], ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"]),
        *product(["I;16"], ["raw", "tiff_lzw", "tiff_adobe_deflate"]),  # JPEG has 8 bits
    ],
)
def test_a_tiff_is_turned_once(tmp_path: Path, mode: str, compression: str, orientation: int) -> None:
    picture = Image.fromarray(STORED.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(STORED)
    path = tmp_path / "photo.tif"
    (picture if mode == "I;16" else picture.convert(mode)).save(
        path, compression=compression, tiffinfo={0x0112: orientation}
    )
    assert probe_image(path)[2] == orientation
    assert np.abs(grey_of(path).astype(int) - SHOWN[orientation]).max() < 40


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_with_exif_is_turned(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(STORED).convert("RGB").save(path, exif=exif, quality=95)
    assert np.abs(grey_of(path).astype(int) - SHOWN[orientation]).mean() < 8


def test_heic_is_read_where_the_extra_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    Image.fromarray(STORED).convert("RGB").save(path, quality=95)
    assert probe_image(path) == (64, 40, 1)
    assert np.abs(grey_of(path).astype(int) - STORED).mean() < 8


def exif_of(kind: int, count: int, value: bytes, tail: bytes = b"") -> bytes:
    """EXIF with one entry, the orientation."""
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHL", 0x0112, kind, count) + value + bytes(4) + tail


ODD = {
    "infinite": exif_of(11, 1, struct.pack("<f", np.inf)),
    "not a number": exif_of(11, 1, struct.pack("<f", np.nan)),
    "float": exif_of(11, 1, struct.pack("<f", 6)),
    "byte": exif_of(1, 1, b"\x06\0\0\0"),
    "undefined": exif_of(7, 1, b"\x06\0\0\0"),
    "text": exif_of(2, 2, b"6\0\0\0"),
    "rational": exif_of(5, 1, struct.pack("<L", 26), struct.pack("<LL", 6, 1)),
    "divided by zero": exif_of(5, 1, struct.pack("<L", 26), struct.pack("<LL", 6, 0)),
    "out of range": exif_of(3, 1, b"\x09\0\0\0"),
    "many": exif_of(3, 0x7FFFFFFF, b"\x1a\0\0\0"),
    "cut short": exif_of(3, 1, b"")[:-6],
}


@pytest.mark.parametrize("exif", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_odd_orientation_counts_as_none(tmp_path: Path, suffix: str, exif: bytes) -> None:
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(STORED).save(path, exif=exif)
    assert probe_image(path) == (64, 40, 1)
    assert grey_of(path).shape == (40, 64)


def test_exif_that_cannot_be_written_again_is_read(tmp_path: Path) -> None:
    # A signed rational below the range that Pillow can write, beside orientation 6.
    entries = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHLL", 0x011A, 5, 1, 38)
    data = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4) + struct.pack("<LL", 0xFFFFFFFF, 0)
    Image.fromarray(STORED).save(tmp_path / "photo.jpg", exif=data)
    assert probe_image(tmp_path / "photo.jpg") == (40, 64, 6)
    assert grey_of(tmp_path / "photo.jpg").shape == (64, 40)


def test_more_pixels_than_the_limit_are_refused_by_every_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "MOST_PIXELS", 2559)  # Pillow's own limit is not reached
    for mode, suffix in (("1", "png"), ("L", "gif"), ("RGB", "tif"), ("RGB", "jpg")):
        path = tmp_path / f"{mode}.{suffix}"
        Image.new(mode, (64, 40)).save(path)
        for look in (probe_image, read_image, lambda p: read_crops(p, lambda *_: [])):
            with pytest.raises(UnreadableImage, match=r"more than 2559 pixels \(64 × 40\)"):
                look(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for path in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", Path("/dev/null")):
        for look in (probe_image, read_image, lambda p: read_crops(p, lambda *_: [])):
            with pytest.raises(UnreadableImage, match="not a regular file"):
                look(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp", "avif", "jp2", "ppm"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_mutated_photo_is_an_image_or_refused(tmp_path_factory: pytest.TempPathFactory, suffix: str) -> None:
    path = tmp_path_factory.mktemp("mutated") / f"photo.{suffix}"
    Image.fromarray(STORED).save(path)
    whole = path.read_bytes()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8), st.integers(0, 99))
    def check(changes: list[tuple[int, int]], cut: int) -> None:
        damaged = bytearray(whole)
        for at, value in changes:
            damaged[at] = value
        path.write_bytes(damaged if cut < 80 else damaged[: len(damaged) * cut // 100])
        try:
            width, height, _ = probe_image(path)
            shown = read_image(path)
        except UnreadableImage as error:
            assert str(error)
        else:
            assert (width, height) == shown.size

    check()
