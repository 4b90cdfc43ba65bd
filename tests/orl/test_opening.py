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
from PIL import Image, PngImagePlugin

from orl_explorer.orl import opening
from orl_explorer.orl.pixels import Crop, UnreadableImage, probe_image, read_crops, read_image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest shows what the program hides

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


XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><tiff:Orientation>%d</tiff:Orientation></rdf:Description>
</rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_orientation_of_xmp_is_that_of_the_photo(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"photo.{suffix}"
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", (XMP % orientation).decode())
    picture = Image.fromarray(STORED).convert("RGB")
    picture.save(path, quality=95, **({"pnginfo": info} if suffix == "png" else {"xmp": XMP % orientation}))
    assert probe_image(path)[2] == orientation
    assert np.abs(grey_of(path).astype(int) - SHOWN[orientation]).mean() < 8


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_read_where_the_extra_is_installed(tmp_path: Path, orientation: int) -> None:
    pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = orientation  # HEIF has a turn of its own, so that this one does not count
    path = tmp_path / "photo.heic"
    Image.fromarray(STORED).convert("RGB").save(path, quality=95, exif=exif)
    assert probe_image(path)[:3] == (64, 40, 1)
    assert np.abs(grey_of(path).astype(int) - STORED).mean() < 8


def test_heic_without_the_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SUFFIXES", opening.SUFFIXES - {".heic"})
    (tmp_path / "photo.HEIC").write_bytes(bytes(20))
    with pytest.raises(UnreadableImage, match=r"HEIC needs another package: pip install 'orl-explorer\[heic\]'"):
        probe_image(tmp_path / "photo.HEIC")


def grey_tiff(bits: int, photometric: int, sample_format: int, row: bytes, width: int) -> bytes:
    """A TIFF of one row of grey pixels."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8 + 2 + 10 * 12 + 4, 277: 1, 278: 1}
    tags |= {279: len(row), 339: sample_format}
    entries = b"".join(struct.pack("<HHLHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4) + row


# Twelve bits a pixel: 0, 4095, 2048, 1024. Sixteen: 0, 65535, 32768, 16384.
TWELVE, SIXTEEN = bytes.fromhex("000fff800400"), struct.pack("<4H", 0, 65535, 32768, 16384)
GREYS = {
    "12 bits": (12, 1, TWELVE, [0, 255, 128, 64]),
    "16 bits": (16, 1, SIXTEEN, [0, 255, 128, 64]),
    "16 bits, white is 0": (16, 0, SIXTEEN, [255, 0, 127, 191]),
    "8 bits": (8, 1, bytes([0, 255, 128, 64]), [0, 255, 128, 64]),
    "8 bits, white is 0": (8, 0, bytes([0, 255, 128, 64]), [255, 0, 127, 191]),
    "4 bits": (4, 1, bytes.fromhex("0f84"), [0, 255, 136, 68]),
    "2 bits, white is 0": (2, 0, bytes([0b00111001]), [255, 0, 85, 170]),
    "1 bit, white is 0": (1, 0, bytes([0b01100000]), [255, 0, 0, 255]),
}


@pytest.mark.parametrize(("bits", "photometric", "row", "expected"), GREYS.values(), ids=GREYS.keys())
def test_a_grey_tiff_is_read_by_value(
    tmp_path: Path, bits: int, photometric: int, row: bytes, expected: list[int]
) -> None:
    (tmp_path / "grey.tif").write_bytes(grey_tiff(bits, photometric, 1, row, 4))
    assert grey_of(tmp_path / "grey.tif").tolist() == [expected]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_of_signed_pixels_is_refused(tmp_path: Path, bits: int) -> None:
    (tmp_path / "grey.tif").write_bytes(grey_tiff(bits, 1, 2, bytes(4 * bits // 8), 4))
    for look in (probe_image, read_image):
        with pytest.raises(UnreadableImage, match="do not define white"):
            look(tmp_path / "grey.tif")


def test_a_mode_that_cannot_become_rgb_is_refused_by_probe_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "photo.png")
    monkeypatch.setattr(opening, "as_rgb", lambda image, _: image.convert("no mode"))
    for look in (probe_image, read_image, lambda p: read_crops(p, lambda *_: [])):
        with pytest.raises(UnreadableImage, match="wrong mode"):
            look(tmp_path / "photo.png")


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
def test_an_odd_orientation_counts_as_none(tmp_path: Path, suffix: str, exif: bytes) -> None:
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(STORED).save(path, exif=exif)
    assert probe_image(path)[:3] == (64, 40, 1)
    assert grey_of(path).shape == (40, 64)


def test_exif_that_cannot_be_written_again_is_read(tmp_path: Path) -> None:
    # A signed rational below the range that Pillow can write, beside orientation 6.
    entries = struct.pack("<HHLHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHLL", 0x011A, 5, 1, 38)
    data = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4) + struct.pack("<LL", 0xFFFFFFFF, 0)
    Image.fromarray(STORED).save(tmp_path / "photo.jpg", exif=data)
    assert probe_image(tmp_path / "photo.jpg")[:3] == (40, 64, 6)
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


def test_a_bomb_is_refused_with_its_size_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many by itself
    Image.new("1", (64, 40)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImage, match=r"more than 300000000 pixels \(2560\)"):
        probe_image(tmp_path / "bomb.png")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for path in (tmp_path / "pipe.jpg", tmp_path / "folder.jpg", Path("/dev/null")):
        for look in (probe_image, read_image, lambda p: read_crops(p, lambda *_: [])):
            with pytest.raises(UnreadableImage, match="not a regular file"):
                look(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp", "avif", "jp2", "ppm"])
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
            width, height, *_ = probe_image(path)
            shown = read_image(path)
            crops = read_crops(path, lambda w, h: [Crop((0, 0, w, h), 8)])
        except UnreadableImage as error:
            assert str(error)
        else:
            assert (width, height) == shown.size
            assert crops[0].shape == (8, 8, 3)

    check()


# The first bytes of each format, so that its decoder is reached.
SIGNATURES = [
    *(b"", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
    *(b"RIFF\x24\x00\x00\x00WEBPVP8 ", b"II*\x00\x08\x00\x00\x00", b"MM\x00*\x00\x00\x00\x08", b"GIF89a", b"BM"),
    *(b"\x00\x00\x00 ftypavif", b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51", b"P6 8 8 255\n", b"P5\n"),
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(start=st.sampled_from(SIGNATURES), content=st.binary(max_size=200))
def test_any_bytes_are_an_image_or_refused(
    start: bytes, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(start + content)
    for look in (probe_image, read_image, lambda p: read_crops(p, lambda w, h: [Crop((0, 0, w, h), 8)])):
        try:
            look(path)
        except UnreadableImage as error:
            assert str(error)


@pytest.mark.parametrize(
    ("suffix", "several"),
    [("gif", True), ("png", True), ("webp", True), ("tiff", True), ("bmp", False), ("jpg", False)],
)
def test_the_first_of_several_pictures_is_taken_and_they_are_told(tmp_path: Path, suffix: str, several: bool) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "lime", "blue")]
    path, more = tmp_path / f"a.{suffix}", {"save_all": True, "append_images": frames[1:]}
    frames[0].save(path, **(more if several else {}))
    assert probe_image(path)[:4] == (8, 4, 1, several)
    assert np.abs(np.asarray(read_image(path)).astype(int) - (255, 0, 0)).max() < 3
    frames[0].save(path)
    assert probe_image(path)[:4] == (8, 4, 1, False)


def test_a_png_with_a_long_text_is_read(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "layer " * 500_000, zip=True)
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png", pnginfo=text, icc_profile=bytes(2_000_000))
    assert probe_image(tmp_path / "a.png") == (8, 4, 1, False, False)


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "tif"])
@pytest.mark.parametrize("alpha", [0, 255])
def test_transparent_pixels_are_told(tmp_path: Path, suffix: str, alpha: int) -> None:
    picture = Image.new("RGBA", (8, 4), (200, 100, 50, 255))
    picture.putpixel((1, 1), (200, 100, 50, alpha))
    picture.save(tmp_path / f"photo.{suffix}")
    assert probe_image(tmp_path / f"photo.{suffix}").transparent == (alpha == 0)


@pytest.mark.parametrize(("mode", "pixel"), [("L", 7), ("RGB", (1, 2, 3)), ("P", 0)])
def test_a_transparent_colour_is_told_if_a_pixel_has_it(tmp_path: Path, mode: str, pixel: object) -> None:
    picture = Image.new(mode, (8, 4), 9 if mode != "RGB" else (9, 9, 9))
    picture.save(tmp_path / "opaque.png", transparency=pixel)
    picture.putpixel((1, 1), pixel)  # type: ignore[arg-type]
    picture.save(tmp_path / "seen-through.png", transparency=pixel)
    assert [probe_image(tmp_path / f"{name}.png").transparent for name in ("opaque", "seen-through")] == [False, True]
