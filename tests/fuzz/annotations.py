"""Fuzz the readers of COCO and VOC: any bytes are boxes inside the photo, or UserError. Run it with `make fuzz`."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from pathlib import Path

import atheris

from tests.fuzz import fuzz

with atheris.instrument_imports(include=["orl_explorer.train.ingest"]):
    from orl_explorer.train.errors import UserError
    from orl_explorer.train.ingest.annotated import Annotated, boxes_as_shown
    from orl_explorer.train.ingest.coco import read_coco
    from orl_explorer.train.ingest.findings import Findings
    from orl_explorer.train.ingest.voc import read_voc

WIDTH, HEIGHT = 64, 48
COCO = b"""{"images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
"categories": [{"id": 1, "name": "cat"}], "annotations": [
{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2.5, 30, 20], "iscrowd": 0},
{"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}]}"""
VOC = b"""<annotation><size><width>64</width><height>48</height><depth>3</depth></size><object><name>cat</name>
<difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>"""
# A value, a key or a tag, a list or an object without others inside, an element without others inside.
TOKEN = re.compile(
    rb'"[^"]*"|-?[0-9][0-9.eE+-]*|null|true|\[[^\[\]]*\]|\{[^{}]*\}|<(\w+)>[^<]*</\1>|<[^<>]*>|(?<=>)[^<>]+'
)
VALUES = (
    *(b"null", b"true", b"[]", b"{}", b"NaN", b"-Infinity", b"1e308", b"1e999", b"-1", b"0", b"0.5", b"64", b"48"),
    *(b'"1"', b'""', b'"1e400"', b"[1, 2, 3]", b"[[]]", b'{"size": [48, 64], "counts": [0, 9]}', b'"../a.jpg"', b"inf"),
    *(b"<part><name>cat</name></part>", b"<bndbox/>", b"<difficult>true</difficult>", b"128", b"1" * 400),
)


def check(annotated: Annotated) -> None:
    """Check that the boxes lie in the photo, in each orientation."""
    for orientation in range(1, 9):
        boxes, _ = boxes_as_shown(annotated, orientation, WIDTH, HEIGHT)
        for box in boxes:
            assert all(map(math.isfinite, (box.x, box.y, box.w, box.h)))
            assert min(box.x, box.y) >= 0
            assert min(box.w, box.h) > 0
            assert box.x + box.w <= WIDTH + 1e-6
            assert box.y + box.h <= HEIGHT + 1e-6


def mutate(content: bytes, most: int, seed: int) -> bytes:
    """Exchange, repeat or leave out a token: bytes changed at random would seldom be JSON or XML."""
    choice, tokens = random.Random(seed), list(TOKEN.finditer(content))
    if not tokens or choice.random() < 0.1:
        return atheris.Mutate(content, most)
    at = choice.choice(tokens)
    new = choice.choice((choice.choice(VALUES), choice.choice(tokens)[0], at[0] + b", " + at[0], at[0] + at[0], b""))
    return (content[: at.start()] + new + content[at.end() :])[:most]


def read(path: Path) -> None:
    """Read a file as VOC if it begins like XML, else as COCO."""
    photos: Mapping[str, Annotated] = {}
    try:
        photos = {"": read_voc(path)} if path.read_bytes().lstrip()[:1] == b"<" else read_coco(path, Findings())
    except UserError as error:
        assert str(error).isprintable()
    for annotated in photos.values():
        check(annotated)


def seed(corpus: Path) -> None:
    """Write a file of each format."""
    (corpus / "coco.json").write_bytes(COCO)
    (corpus / "voc.xml").write_bytes(VOC)


if __name__ == "__main__":
    fuzz(read, seed, "-max_len=4096", "-len_control=0", custom_mutator=mutate)
