"""Layouts of photos and annotations on disk: a plain folder, COCO json, VOC XML."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from orl_explorer.db.photos import AnnotatedBox
from orl_explorer.orl.formats import SUFFIXES
from orl_explorer.train.errors import UserError

LayoutName = Literal["auto", "folder", "coco", "voc"]


@dataclass(frozen=True)
class Annotated:
    """Annotations of one photo, in the frame of the size that the annotation file declares (0 if none)."""

    boxes: tuple[AnnotatedBox, ...]
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Layout:
    """The photos of a folder and their annotations: ``annotated(path relative to root)``."""

    name: str
    root: Path
    files: Callable[[], Iterator[str]]
    annotated: Callable[[str], Annotated | None]


def detect(path: Path, layout: str, annotations: Path | None) -> Layout:
    """Return the layout of the photos in a folder. Raises UserError that names what is missing."""
    if not path.is_dir():
        raise UserError(f"{path} is not a folder of photos." if path.exists() else f"There is no folder {path}.")
    path = path.resolve()
    if layout == "auto":
        voc = (path / "JPEGImages").is_dir() and (path / "Annotations").is_dir()
        layout = "voc" if voc else "coco" if annotations or coco_json(path) else "folder"
    match layout:
        case "folder":
            return Layout("folder", path, lambda: walk(path), lambda _: None)
        case "voc":
            return _voc(path)
        case "coco":
            return _coco(path, annotations)
    raise UserError(f"There is no layout '{layout}'. Known layouts: {', '.join(get_args(LayoutName))}.")


def walk(root: Path, below: str = "") -> Iterator[str]:
    """Yield the paths of image files in a folder and its subfolders, relative to it, sorted, without hidden ones."""
    try:
        with os.scandir(root / below) as entries:
            found = sorted(entries, key=lambda e: e.name)
    except OSError as error:
        raise UserError(f"Cannot read the folder {root / below}: {error.strerror}.") from error
    for entry in found:
        if entry.name.startswith("."):
            continue
        relative = f"{below}{entry.name}"
        if entry.is_dir():
            yield from walk(root, f"{relative}/")
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            yield relative


def _voc(root: Path) -> Layout:
    if not (root / "JPEGImages").is_dir():
        raise UserError(f"{root} has no JPEGImages folder. VOC has photos in JPEGImages, boxes in Annotations/*.xml.")

    def annotated(path: str) -> Annotated | None:
        file = root / "Annotations" / Path(path).with_suffix(".xml").name
        return read_voc(file) if file.is_file() else None

    return Layout("voc", root, lambda: walk(root, "JPEGImages/"), annotated)


def read_voc(file: Path) -> Annotated:
    """Read the boxes of a VOC XML file, whose corners are 1-based and inclusive. Raises UserError if it is invalid."""
    try:
        tree = ElementTree.parse(file).getroot()
        size = tree.find("size")
        boxes = []
        for found in tree.iter("object"):
            corners = found.find("bndbox")
            if corners is None:
                continue
            left, top, right, bottom = (float(_text(corners, tag)) for tag in ("xmin", "ymin", "xmax", "ymax"))
            difficult = (found.findtext("difficult") or "0").strip() == "1"
            boxes.append(
                AnnotatedBox(_text(found, "name"), left - 1, top - 1, right - left + 1, bottom - top + 1, difficult)
            )
        declared = (int(_text(size, "width")), int(_text(size, "height"))) if size is not None else (0, 0)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{file} is not a VOC annotation: {error}.") from error
    return Annotated(tuple(boxes), *declared)


def _text(element: ElementTree.Element, tag: str) -> str:
    value = element.findtext(tag)
    if value is None:
        raise ValueError(f"no <{tag}>")
    return value.strip()


def coco_json(root: Path) -> Path | None:
    """Return the only json in the folder ``annotations`` of a dataset, or None."""
    found = sorted((root / "annotations").glob("*.json")) if (root / "annotations").is_dir() else []
    return found[0] if len(found) == 1 else None


def _coco(root: Path, annotations: Path | None) -> Layout:
    file = annotations or coco_json(root)
    if file is None:
        raise UserError(
            f"{root} does not hold exactly one annotations/*.json. Name the COCO file with --annotations FILE."
        )
    of_name = read_coco(file)
    # COCO names files without their folder: search the folders in the root for them.
    folders = [root, root / "images", *(p for p in sorted(root.iterdir()) if p.is_dir())]
    base = next((f for f in folders if any((f / name).is_file() for name in of_name)), None)
    if base is None:
        first = next(iter(of_name), "any photo")
        raise UserError(f"No folder in {root} holds {first} or any other photo that {file} lists.")
    prefix = "" if base == root else f"{base.name}/"
    names = sorted(of_name)
    return Layout(
        "coco",
        root,
        lambda: (f"{prefix}{name}" for name in names),
        lambda path: of_name.get(path.removeprefix(prefix)),
    )


def read_coco(file: Path) -> dict[str, Annotated]:
    """Read the annotations of a COCO json by file name; crowds count as difficult. Raises UserError if invalid."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        categories = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
        boxes: dict[int, list[AnnotatedBox]] = {}
        for found in content.get("annotations", []):
            x, y, w, h = found["bbox"]
            box = AnnotatedBox(categories[found["category_id"]], x, y, w, h, bool(found.get("iscrowd", 0)))
            boxes.setdefault(found["image_id"], []).append(box)
        return {
            image["file_name"]: Annotated(
                tuple(boxes.get(image["id"], ())), image.get("width", 0), image.get("height", 0)
            )
            for image in content["images"]
        }
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is not a COCO annotation file ({type(error).__name__}: {error}).") from error
