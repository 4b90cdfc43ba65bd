"""Fuzz the readers of photos: any bytes are an image of one size, or UnreadableImage. Run it with `make fuzz`."""

from __future__ import annotations

from pathlib import Path

import atheris

from tests.fuzz import fuzz

with atheris.instrument_imports(include=["PIL"]):
    from PIL import Image

    from orl_explorer.orl.pixels import Crop, UnreadableImage, probe_image, read_crops, read_image

    Image.init()  # imports the decoders, which Pillow would do later, without instruments

SEEDS = ("jpg", "png", "webp", "tif", "gif", "bmp", "avif", "jp2", "ppm")


def read(path: Path) -> None:
    """Read a file by all readers. They agree on its size."""
    seen: list[tuple[int, int]] = []

    def plan(width: int, height: int) -> list[Crop]:
        seen.append((width, height))
        return [Crop((0, 0, width, height), 1)]

    try:
        width, height, *_ = probe_image(path)
        shown = read_image(path)
        read_crops(path, plan)
    except UnreadableImage as error:
        assert str(error)
        return
    assert [(width, height), shown.size] == [shown.size, seen[0]]


def seed(corpus: Path) -> None:
    """Write a photo of each format, turned by its EXIF."""
    for suffix in SEEDS:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.linear_gradient("L").resize((24, 16)).save(corpus / f"photo.{suffix}", exif=exif)


if __name__ == "__main__":
    fuzz(read, seed, "-max_len=4096")
