"""Photos for a reproduction: VOC2007 and others, in a tidy and in an untidy folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="package")
def folder(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VOCdevkit/VOC2007 with six training scenes and four test scenes, and two more scenes in a folder."""
    root = tmp_path_factory.mktemp("photos")
    voc, others = root / "VOCdevkit" / "VOC2007", root / "more"
    for part in (voc / "JPEGImages", voc / "Annotations", voc / "ImageSets" / "Main", others):
        part.mkdir(parents=True)
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for number, path in enumerate(sorted(small_scenes.iterdir())):
        if number >= 10:
            (others / path.name).symlink_to(path)
            continue
        (voc / "JPEGImages" / path.name).symlink_to(path)
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>120</xmax><ymax>120</ymax></bndbox>"
        objects = f"<object><name>thing</name>{box}</object>"
        (voc / "Annotations" / f"{path.stem}.xml").write_text(f"<annotation>{objects}</annotation>")
        lists["train" if number < 6 else "val"].append(f"{path.stem} {1 if number % 2 else -1}\n")
    for split, lines in lists.items():
        (voc / "ImageSets" / "Main" / f"thing_{split}.txt").write_text("".join(lines))
    return root


@pytest.fixture
def messy(folder: Path, tmp_path: Path) -> Path:
    """The photos in an untidy folder: VOC in a place of its own, another year beside it, and photos beside both."""
    root = tmp_path / "messy"
    shutil.copytree(folder / "VOCdevkit" / "VOC2007", root / "sets" / "mine" / "VOC2007", symlinks=True)
    later = root / "sets" / "mine" / "VOC2012" / "JPEGImages"
    later.mkdir(parents=True)
    for target, name in ((later, "scene-010.jpg"), (root, "scene-011.jpg")):
        shutil.copy(folder / "more" / name, target / name)
    return root
