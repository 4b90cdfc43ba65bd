"""The formats of photos, and the suffixes by which their files are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from orl_explorer.orl.formats import FORMATS, OTHER_PICTURES, SUFFIXES
from orl_explorer.orl.pixels import probe_image


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".heic", ".heif", ".heics", ".heifs", ".hif"}))
def test_a_file_with_each_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    kinds = {".jif": "JPEG", ".jfi": "JPEG", ".pjp": "JPEG", ".pjpeg": "JPEG", ".pbm": "PPM", ".dib": "BMP"}
    path = tmp_path / f"photo{suffix}"
    Image.new("RGB", (9, 5)).save(path, kinds.get(suffix))
    assert probe_image(path)[:3] == (9, 5, 1)


def test_only_the_named_formats_are_read() -> None:
    assert set(FORMATS) - {"AVIF", "HEIF"} == {"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "PPM"}


def test_other_pictures_are_named_apart() -> None:
    assert {".nef", ".dng", ".svg", ".psd", ".eps", ".jxl"} <= OTHER_PICTURES
    assert not OTHER_PICTURES & SUFFIXES
    assert {".avif", ".heic"} <= OTHER_PICTURES | SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in OTHER_PICTURES | SUFFIXES)
