"""Photos and annotation files as people bring them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

WIDTH, HEIGHT = 160, 120
CAT = [{"id": 1, "name": "cat"}]


def save(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 40)).save(root / name, format="JPEG")


def write(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def coco(*objects: dict[str, Any], names: tuple[object, ...] = ("a.jpg",), **more: object) -> dict[str, Any]:
    images = [{"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names, 1)]
    known = {"image_id": 1, "category_id": 1}
    return {"images": images, "annotations": [known | each for each in objects], "categories": CAT} | more


def voc(*corners: str, size: str = "") -> str:
    tags = ("xmin", "ymin", "xmax", "ymax")
    boxes = ["".join(f"<{t}>{v}</{t}>" for t, v in zip(tags, each.split(), strict=True)) for each in corners]
    objects = "".join(f"<object><name>cat</name><bndbox>{box}</bndbox></object>" for box in boxes)
    return f"<annotation>{size}{objects}</annotation>"
