"""Photos that are drawn for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

STORED = (64, 40)  # width, height
PATCH = (8, 8, 24, 8)  # x y w h in the stored frame; on JPEG's grid of 8, and in the middle of neither side


def save_with_orientation(path: Path, orientation: int) -> Path:
    picture = Image.new("RGB", STORED)
    x, y, w, h = PATCH
    picture.paste((255, 0, 0), (x, y, x + w, y + h))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    picture.save(path, exif=exif, **options)  # type: ignore[arg-type]
    return path


def noise(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8))


def gradient(path: Path, orientation: int = 1) -> Path:
    """640 x 480 as stored: red grows to the right, green downward."""
    y, x = np.mgrid[0:480, 0:640]
    picture = np.stack([x * 255 // 639, y * 255 // 479, np.zeros_like(x)], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(path, quality=95, exif=exif)
    return path
