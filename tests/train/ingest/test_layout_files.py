"""COCO and VOC files written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orl_explorer.db.photos import AnnotatedBox
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import Annotated
from orl_explorer.train.ingest.coco import read_coco
from orl_explorer.train.ingest.layouts import detect
from orl_explorer.train.ingest.voc import read_voc
from orl_explorer.train.ingest.walk import walk

VOC = """<annotation>
  <size><width>500</width><height>375</height><depth>3</depth></size>
  <object>
    <name>dog</name><difficult>0</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>500</xmax><ymax>375</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></part>
  </object>
  <object>
    <name>cat</name><difficult>1</difficult>
    <bndbox><xmin>10</xmin><ymin>20</ymin><xmax>10</xmax><ymax>24</ymax></bndbox>
  </object>
</annotation>"""

COCO = {
    "images": [
        {"id": 7, "file_name": "b.jpg", "width": 64, "height": 48},
        {"id": 9, "file_name": "a.jpg", "width": 32, "height": 24},
    ],
    "annotations": [
        {"image_id": 7, "category_id": 18, "bbox": [1.5, 2.0, 10.25, 20.0], "iscrowd": 0},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 1},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
}


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def write_coco(root: Path, content: object = COCO, name: str = "instances.json") -> Path:
    file = root / "annotations" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_vocs_corners_count_from_1_and_belong_to_the_box(tmp_path: Path) -> None:
    file = tmp_path / "a.xml"
    file.write_text(VOC)
    whole, narrow = AnnotatedBox("dog", 0, 0, 500, 375, False), AnnotatedBox("cat", 9, 19, 1, 5, True)
    assert read_voc(file) == Annotated((whole, narrow), 500, 375)


def test_vocs_objects_may_have_several_boxes(tmp_path: Path) -> None:
    corner = "<bndbox><xmin>{0}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    file = tmp_path / "a.xml"
    both = corner.format(1) + corner.format(4)
    file.write_text(f"<annotation><object><name>cat</name>{both}</object></annotation>")
    assert [(box.category, box.x, box.w) for box in read_voc(file).boxes] == [("cat", 0, 9), ("cat", 3, 6)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("</annotation>", ""), "no element found"),
        (("annotation>", "note>"), "its root is <note>, not <annotation>"),
    ],
)
def test_a_broken_voc_file_is_named_with_the_reason(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    file = tmp_path / "a.xml"
    file.write_text(VOC.replace(*change))
    with pytest.raises(UserError, match=r"a\.xml is not a VOC annotation: ") as refusal:
        read_voc(file)
    assert reason in str(refusal.value)


def test_cocos_boxes_come_by_file_name_and_crowds_are_difficult(tmp_path: Path) -> None:
    assert read_coco(write_coco(tmp_path)) == {
        "b.jpg": Annotated(
            (AnnotatedBox("dog", 1.5, 2.0, 10.25, 20.0, False), AnnotatedBox("person", 0, 0, 5, 5, True)), 64, 48
        ),
        "a.jpg": Annotated((), 32, 24),
    }


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '"a string"',
        {"annotations": []},
        {"images": {"7": "b.jpg"}},
    ],
)
def test_what_is_no_coco_file_is_named_with_the_reason(tmp_path: Path, content: object) -> None:
    with pytest.raises(UserError, match=r"instances\.json is not a COCO annotation file"):
        read_coco(write_coco(tmp_path, content))


def test_a_coco_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*gone\.json: No such file"):
        read_coco(tmp_path / "gone.json")


def test_a_plain_folder_is_walked_in_order_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "a/2.jpeg", "a/1.webp", "a.txt", ".hidden.jpg", ".cache/x.jpg", "c/deep/er/z.tiff")
    assert list(walk(tmp_path)) == ["a/1.webp", "a/2.jpeg", "b.PNG", "c/deep/er/z.tiff"]


def test_the_layout_is_found_out(tmp_path: Path) -> None:
    touch(tmp_path, "plain/a.jpg", "voc/JPEGImages/a.jpg", "voc/Annotations/a.xml", "coco/train/a.jpg")
    write_coco(tmp_path / "coco")
    assert detect(tmp_path / "plain", "auto", None).name == "folder"
    assert detect(tmp_path / "voc", "auto", None).name == "voc"
    assert detect(tmp_path / "coco", "auto", None).name == "coco"
    elsewhere = write_coco(tmp_path / "notes")
    assert detect(tmp_path / "plain", "auto", elsewhere).name == "coco"
    assert detect(tmp_path / "voc", "folder", None).name == "folder"


def test_vocs_photos_lie_in_jpegimages_and_may_lack_boxes(tmp_path: Path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", "elsewhere.jpg")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(VOC)
    found = detect(tmp_path, "auto", None)
    assert found.paths == ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]
    annotated = found.annotated("JPEGImages/a.jpg")
    assert annotated is not None
    assert len(annotated.boxes) == 2
    assert found.annotated("JPEGImages/b.jpg") is None


@pytest.mark.parametrize("folder", ["", "images", "train2017"])
def test_cocos_photos_are_found_in_whichever_folder_holds_them(tmp_path: Path, folder: str) -> None:
    write_coco(tmp_path)
    touch(tmp_path / folder, "a.jpg", "b.jpg", "unlisted.jpg")
    prefix = f"{folder}/" if folder else ""
    found = detect(tmp_path, "auto", None)
    assert found.paths == [f"{prefix}a.jpg", f"{prefix}b.jpg"]
    annotated = found.annotated(f"{prefix}b.jpg")
    assert annotated is not None
    assert annotated.width == 64


def test_cocos_folder_is_found_though_the_first_photo_of_its_list_is_gone(tmp_path: Path) -> None:
    write_coco(tmp_path)
    touch(tmp_path, "images/a.jpg")  # the list begins with b.jpg
    assert detect(tmp_path, "coco", None).paths == ["images/a.jpg", "images/b.jpg"]


@pytest.mark.parametrize(
    ("path", "layout", "sentence"),
    [
        ("gone", "auto", "There is no folder "),
        ("a.jpg", "auto", "is not a folder of photos"),
        ("plain", "voc", "has no JPEGImages folder. VOC has photos in JPEGImages, boxes in Annotations/"),
        ("plain", "coco", "does not hold exactly one annotations/*.json. Name the COCO file with --annotations FILE"),
        ("plain", "yolo", "There is no layout 'yolo'. Known layouts: auto, folder, coco, voc."),
        ("empty", "coco", "No folder in "),
    ],
)
def test_a_layout_that_does_not_fit_is_answered_with_what_was_expected(
    tmp_path: Path, path: str, layout: str, sentence: str
) -> None:
    touch(tmp_path, "a.jpg", "plain/a.jpg")
    write_coco(tmp_path / "empty")
    with pytest.raises(UserError) as refusal:
        detect(tmp_path / path, layout, None)
    assert sentence in str(refusal.value)
