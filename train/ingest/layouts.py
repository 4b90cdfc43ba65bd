"""Layouts of photos and annotations on disk: a plain folder, COCO json, VOC XML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import Annotated
from orl_explorer.train.ingest.coco import COCO, coco_json
from orl_explorer.train.ingest.findings import Findings
from orl_explorer.train.ingest.voc import VOC
from orl_explorer.train.ingest.walk import walk
from orl_explorer.train.words import is_utf8, storable

LayoutName = Literal["auto", "folder", "coco", "voc"]


@dataclass(frozen=True)
class Layout:
    """The photos of a folder, by path relative to it, and their annotations.

    lists: whether the annotations name a photo. findings: what was left out; reading annotations adds to it.
    """

    name: str
    root: Path
    paths: list[str]
    annotated: Callable[[str], Annotated | None]
    lists: Callable[[str], bool]
    findings: Findings


def detect(path: Path, layout: str, annotations: Path | None) -> Layout:
    """Return the layout of the photos in a folder. Raises UserError that names what is missing."""
    if not path.is_dir():
        raise UserError(f"{path} is not a folder of photos." if path.exists() else f"There is no folder {path}.")
    path = path.resolve()
    if not is_utf8(str(path)):
        raise UserError(f"The name of the folder {storable(str(path))} is not UTF-8. Rename it.")
    if annotations and layout in ("folder", "voc"):
        raise UserError(f"Option --annotations names a COCO file and does not fit --layout {layout}. Leave one out.")
    wanted = layout
    if layout == "auto":
        voc = (path / "JPEGImages").is_dir() and (path / "Annotations").is_dir()
        layout = "voc" if voc and not annotations else "coco" if annotations or coco_json(path) else "folder"
    findings = Findings()
    match layout:
        case "folder":
            return Layout(
                "folder", path, list(walk(path, findings=findings)), lambda _: None, lambda _: False, findings
            )
        case "voc":
            voc_folder = VOC(path, findings)
            return Layout("voc", path, voc_folder.paths, voc_folder.annotated, voc_folder.lists, findings)
        case "coco":
            file = annotations or coco_json(path)
            if file is None:
                raise UserError(
                    f"{path} does not hold exactly one annotations/*.json. Name the COCO file with --annotations FILE."
                )
            try:
                coco = COCO(path, file, findings)
            except UserError:
                if annotations or file.parent != path or wanted == "coco":
                    raise
                return detect(path, "folder", None)  # a JSON of that name need not be of COCO; it is told
            return Layout("coco", path, coco.paths, coco.annotated, coco.lists, findings)
    raise UserError(f"There is no layout '{layout}'. Known layouts: {', '.join(get_args(LayoutName))}.")
