"""What people bring that an ingest leaves out or changes: the rows that are stored, and the findings."""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orl_explorer.db.findings import findings_of
from orl_explorer.db.photos import AnnotatedBox, annotations_of, current_images, datasets
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import Annotated, boxes_as_shown
from orl_explorer.train.ingest.coco import coco_json, read_coco
from orl_explorer.train.ingest.findings import KINDS, Findings, sentences
from orl_explorer.train.ingest.ingest import Ingested, ingest
from orl_explorer.train.ingest.layouts import detect
from orl_explorer.train.workspace import Workspace
from tests.train.ingest.written import CAT, HEIGHT, WIDTH, coco, save, voc, write


def told(found: Ingested) -> list[tuple[str, str, int]]:
    return [(one.kind, one.name, one.count) for one in found.findings]


def boxes(workspace: Workspace) -> dict[str, list[tuple[float, ...]]]:
    images = current_images(workspace.store, datasets(workspace.store)[0].id)
    return {i.path: [(b.x, b.y, b.w, b.h) for b in annotations_of(workspace.store, i.id)] for i in images}


@pytest.mark.parametrize(
    ("given_object", "stored", "kind"),
    [
        ({"bbox": [10, 20, 30, 40]}, (10, 20, 30, 40), None),
        ({"bbox": ["10", "20.5", 30, 40]}, (10, 20.5, 30, 40), None),
        ({"image_id": "1", "bbox": [10, 20, 30, 40]}, (10, 20, 30, 40), None),
        ({"image_id": 1.0, "bbox": [10, 20, 30, 40]}, (10, 20, 30, 40), None),
        ({"category_id": "1", "bbox": [10, 20, 30, 40]}, (10, 20, 30, 40), None),
        ({"bbox": [100, 100, -30, -40]}, (70, 60, 30, 40), "corners-exchanged"),
        ({"bbox": [-20, -5, 40, 40]}, (0, 0, 20, 35), "clipped"),
        ({"bbox": [-0.5, 0, 40, 40]}, (0, 0, 39.5, 40), None),  # rounding
        ({"bbox": [500, 500, 10, 10]}, None, "outside-box"),
        ({"bbox": [10, 20, 0, 40]}, None, "no-area"),
        ({"bbox": [0.25, 0.25, 0.5, 0.5]}, None, "small-box"),  # shares of the photo's size
        ({"bbox": [10, 20, 0.5, 40]}, (10, 20, 0.5, 40), None),
        ({"bbox": [float("nan"), 20, 30, 40]}, None, "not-finite"),
        ({"bbox": [10, 20, float("inf"), 40]}, None, "not-finite"),
        ({"bbox": [10, 20, 10**400, 40]}, None, "not-finite"),
        ({"bbox": [1, 2, 3]}, None, "no-box"),
        ({"bbox": None}, None, "no-box"),
        ({"bbox": "10 20 30 40"}, None, "no-box"),
        ({"segmentation": [[10, 20, 40, 20, 40, 60]]}, (10, 20, 30, 40), "from-outline"),
        ({"category_id": 77, "bbox": [10, 20, 30, 40]}, None, "unknown-category"),
    ],
)
def test_a_coco_box_is_right_or_left_out_with_a_finding(
    workspace: Workspace, tmp_path: Path, given_object: dict[str, Any], stored: tuple | None, kind: str | None
) -> None:
    root = tmp_path / "photos"
    save(root, "a.jpg")
    write(root / "annotations" / "i.json", coco(given_object))
    found = ingest(workspace, root)
    assert boxes(workspace) == {"a.jpg": [stored] if stored else []}
    assert told(found) == ([(kind, "a.jpg", 1)] if kind else [])
    assert findings_of(workspace.store, found.dataset.id) == list(found.findings)


def test_a_box_that_is_there_twice_is_taken_once(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "a.jpg")
    box = {"bbox": [10, 20, 30, 40]}
    objects = [box, {"bbox": [50, 20, 30, 40]}, box | {"id": 7}, box | {"category_id": 2}]
    categories = [*CAT, {"id": 2, "name": "dog"}, {"id": 3, "name": " "}]
    write(tmp_path / "p" / "annotations" / "i.json", coco(*objects, box | {"category_id": 3}, categories=categories))
    found = ingest(workspace, tmp_path / "p")
    assert boxes(workspace) == {"a.jpg": [(10, 20, 30, 40), (50, 20, 30, 40), (10, 20, 30, 40)]}
    assert told(found) == [("unknown-category", "a.jpg", 1), ("repeated-box", "a.jpg", 1)]
    assert found.dataset.categories == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(("crowd", "difficult"), [("0", False), ("1", True), (True, True), (None, False), (0, False)])
def test_a_crowd_may_be_a_text(tmp_path: Path, crowd: object, difficult: bool) -> None:
    file = write(tmp_path / "i.json", coco({"bbox": [1, 2, 3, 4], "iscrowd": crowd}))
    assert read_coco(file)["a.jpg"].boxes == (AnnotatedBox("cat", 1, 2, 3, 4, difficult),)


def test_annotations_of_unknown_photos_are_counted(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "a.jpg")
    unknown = [{"image_id": 9, "bbox": [1, 2, 3, 4]}] * 2 + [{"image_id": None, "bbox": [1, 2, 3, 4]}]
    write(tmp_path / "p" / "annotations" / "i.json", coco(*unknown))
    found = ingest(workspace, tmp_path / "p")
    assert told(found) == [("unknown-photo", "image_id 9", 2), ("unknown-photo", "image_id None", 1)]
    assert sentences(found.findings) == [
        "Annotations without a photo: 3 (image_id 9 (2); image_id None). An annotation whose image_id is not that of "
        "one photo in the file is left out."
    ]


def test_one_file_under_two_names_is_taken_once_with_all_boxes(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "d/0.jpg")
    entries = coco({"bbox": [1, 2, 3, 4]}, {"image_id": 2, "bbox": [5, 6, 7, 8]}, names=("d/0.jpg", "./d//0.jpg"))
    write(tmp_path / "p" / "annotations" / "i.json", entries)
    found = ingest(workspace, tmp_path / "p")
    assert boxes(workspace) == {"d/0.jpg": [(1, 2, 3, 4), (5, 6, 7, 8)]}
    assert told(found) == [("listed-twice", "d/0.jpg", 1)]


@pytest.mark.parametrize(
    ("size", "stored", "kinds"),
    [
        ((320, 240), [(1, 2, 3, 4), (5, 6, 7, 8)], ["scaled", "listed-twice"]),
        ((0, 0), [(1, 2, 3, 4), (10, 12, 14, 16)], ["listed-twice"]),
        ((100, 100), [(1, 2, 3, 4)], ["other-size", "listed-twice"]),
    ],
)
def test_two_entries_of_a_photo_may_declare_two_sizes(
    workspace: Workspace, tmp_path: Path, size: tuple[int, int], stored: list[tuple], kinds: list[str]
) -> None:
    save(tmp_path / "p", "a.jpg")
    content = coco({"bbox": [1, 2, 3, 4]}, {"image_id": 2, "bbox": [10, 12, 14, 16]}, names=("a.jpg", "a.jpg"))
    content["images"][1] |= {"width": size[0], "height": size[1]}
    write(tmp_path / "p" / "annotations" / "i.json", content)
    found = ingest(workspace, tmp_path / "p")
    assert boxes(workspace) == {"a.jpg": stored}
    assert sorted(one.kind for one in found.findings) == sorted(kinds)


def test_an_entry_that_is_there_twice_keeps_its_boxes(tmp_path: Path) -> None:
    content = coco({"bbox": [1, 2, 3, 4]})
    content["images"] *= 2
    assert len(read_coco(write(tmp_path / "i.json", content))["a.jpg"].boxes) == 1


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg", "https://x.org/a.jpg", "C:\\photos\\a.jpg"]
)
def test_a_name_outside_the_folder_is_never_read(workspace: Workspace, tmp_path: Path, name: str) -> None:
    save(tmp_path, "secret.jpg", "p/a.jpg")
    write(tmp_path / "p" / "annotations" / "i.json", coco(names=("a.jpg", name)))
    found = ingest(workspace, tmp_path / "p")
    assert list(boxes(workspace)) == ["a.jpg"]
    assert told(found) == [("outside-photo", name, 1)]


def test_file_names_that_are_no_texts_are_counted(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "a.jpg")
    write(tmp_path / "p" / "annotations" / "i.json", coco(names=("a.jpg", 0, None, ["b.jpg"])))
    found = ingest(workspace, tmp_path / "p")
    assert told(found) == [("unnamed-photo", f"image {n}", 1) for n in (2, 3, 4)]


def test_photos_are_found_in_the_folder_that_holds_most_and_in_several(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "p"
    save(root, "0.jpg", "images/0.jpg", "images/1.jpg", "images/2.jpg", "val/3.jpg", "images/more.jpg")
    write(root / "annotations" / "i.json", coco(names=tuple(f"{n}.jpg" for n in range(5))))
    found = ingest(workspace, root)
    assert list(boxes(workspace)) == [*(f"images/{n}.jpg" for n in (0, 1, 2, 4)), "val/3.jpg"]
    assert found.unreadable == (("images/4.jpg", f"not found in {root}/images"),)
    assert told(found) == [("unlisted", "images", 1)]


def test_boxes_that_a_later_annotation_file_does_not_list_are_kept_and_told(
    workspace: Workspace, tmp_path: Path
) -> None:
    root = tmp_path / "p"
    save(root, "a.jpg", "b.jpg")
    first = coco({"bbox": [1, 2, 30, 40]}, {"image_id": 2, "bbox": [5, 6, 70, 80]}, names=("a.jpg", "b.jpg"))
    ingest(workspace, root, annotations=write(tmp_path / "both.json", first))
    one = write(tmp_path / "one.json", coco({"bbox": [3, 4, 50, 60]}))
    assert told(ingest(workspace, root, annotations=one)) == [("unlisted", ".", 1), ("kept-boxes", "b.jpg", 1)]
    assert boxes(workspace) == {"a.jpg": [(3, 4, 50, 60)], "b.jpg": [(5, 6, 70, 80)]}
    found = ingest(workspace, root, layout="folder")
    assert [each for each in told(found) if each[0] == "kept-boxes"] == [
        ("kept-boxes", "a.jpg", 1),
        ("kept-boxes", "b.jpg", 1),
    ]
    (root / "b.jpg").unlink()
    assert told(ingest(workspace, root, annotations=one)) == []


def test_boxes_of_a_deleted_xml_are_kept_and_told(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "p"
    save(root / "JPEGImages", "a.jpg", "b.jpg")
    for name in "ab":
        write(root / "Annotations" / f"{name}.xml", voc("11 21 40 60"))
    assert told(ingest(workspace, root)) == []
    (root / "Annotations" / "b.xml").unlink()
    assert told(ingest(workspace, root)) == [("kept-boxes", "JPEGImages/b.jpg", 1)]
    assert boxes(workspace)["JPEGImages/b.jpg"] == [(10, 20, 30, 40)]


def test_capitals_and_the_encoding_of_accents_are_overlooked_with_a_finding(
    workspace: Workspace, tmp_path: Path
) -> None:
    save(tmp_path / "p", "IMG.JPG", "cafe\u0301.jpg")
    write(tmp_path / "p" / "annotations" / "i.json", coco(names=("img.jpg", "caf\u00e9.jpg")))
    found = ingest(workspace, tmp_path / "p")
    assert list(boxes(workspace)) == ["IMG.JPG", "cafe\u0301.jpg"]
    assert {kind for kind, *_ in told(found)} == {"loose-name"}


@pytest.mark.parametrize(
    ("files", "meant"),
    [
        (["annotations/i.json", "annotations/._i.json"], "annotations/i.json"),
        (["annotations/instances_train.json", "annotations/captions_train.json"], "annotations/instances_train.json"),
        (["annotations/a.json", "annotations/b.json"], None),
        (["labels.json"], "labels.json"),
        (["_annotations.coco.json"], "_annotations.coco.json"),
        (["other.json"], None),
    ],
)
def test_the_json_that_is_meant(tmp_path: Path, files: list[str], meant: str | None) -> None:
    (tmp_path / "train").mkdir()
    for file in files:
        write(tmp_path / file, {})
    assert coco_json(tmp_path) == (None if meant is None else tmp_path / meant)


def test_json_that_is_not_read_is_told(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "a.jpg")
    write(tmp_path / "p" / "labels.json", ["cat", "dog"])
    found = ingest(workspace, tmp_path / "p")
    assert (found.dataset.layout, told(found)) == ("folder", [("annotations-not-taken", ".json", 1)])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Käse".encode("latin-1"), "it is not UTF-8. Save it as UTF-8."),
        (b"\x1f\x8b\x08", "it is compressed. Unpack it."),
    ],
)
def test_a_coco_file_in_another_encoding_says_so(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "i.json").write_bytes(content)
    with pytest.raises(UserError, match=f"i.json is not a COCO annotation file: {said}$"):
        read_coco(tmp_path / "i.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "i.json"
    file.write_bytes(json.dumps(coco({"bbox": [1, 2, 3, 4]})).encode(encoding))
    assert len(read_coco(file)["a.jpg"].boxes) == 1


def test_a_name_that_no_database_stores_is_escaped(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "a.jpg")
    (tmp_path / "p" / "a.jpg").rename(os.fsdecode(os.fsencode(tmp_path / "p") + b"/\xff.jpg"))
    save(tmp_path / "p", "b.jpg")
    categories = [{"id": 1, "name": "c\ud800\0"}]
    write(
        tmp_path / "p" / "annotations" / "i.json", coco({"bbox": [1, 2, 3, 4]}, names=("b.jpg",), categories=categories)
    )
    found = ingest(workspace, tmp_path / "p")
    assert told(found) == [("not-utf8", "\\udcff.jpg", 1)]
    assert found.dataset.categories == {"c\\ud800\\0": 1}


@pytest.mark.parametrize(
    ("declared", "orientation", "stored", "kind"),
    [
        ((160, 120), 1, (10, 20, 30, 40), None),
        ((320, 240), 1, (5, 10, 15, 20), "scaled"),
        ((80, 60), 1, (20, 40, 60, 80), "scaled"),
        ((321, 240), 1, (10 * 160 / 321, 10, 30 * 160 / 321, 20), "scaled"),
        ((120, 160), 1, (10, 20, 30, 40), "sides-exchanged"),
        ((300, 200), 1, None, "other-size"),
        ((0, 0), 1, (10, 20, 30, 40), None),
        ((120, 160), 6, (100, 10, 40, 30), None),  # drawn in the stored frame, which is 120 wide
        ((160, 120), 6, (10, 20, 30, 40), None),  # drawn as shown
        ((240, 320), 6, (130, 5, 20, 15), "scaled"),
        ((320, 240), 6, (5, 10, 15, 20), "scaled"),
        ((160, 120), 3, (120, 60, 30, 40), None),
    ],
)
def test_boxes_of_another_size_are_scaled_or_left_out(
    declared: tuple[int, int], orientation: int, stored: tuple[float, ...] | None, kind: str | None
) -> None:
    annotated = Annotated((AnnotatedBox("cat", 10, 20, 30, 40),), *declared)
    found, noted = boxes_as_shown(annotated, orientation, WIDTH, HEIGHT)
    assert [(b.x, b.y, b.w, b.h) for b in found] == ([pytest.approx(stored)] if stored else [])
    assert [one.kind.name for one in noted] == ([kind] if kind else [])


def test_vocs_annotations_mirror_the_folders_of_their_photos(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "p"
    save(root, *(f"JPEGImages/{name}.jpg" for name in ("a/0", "b/0", "0", "a/only", "c/1", "d/1", "X")))
    corners = {"a/0": "1 1 9 9", "0": "2 2 9 9", "only": "3 3 9 9", "1": "4 4 9 9", "x": "5 5 9 9", "z": "6 6 9 9"}
    for name, each in corners.items():
        write(root / "Annotations" / f"{name}.xml", voc(each))
    found = ingest(workspace, root)
    assert {path: [x + 1 for x, *_ in each] for path, each in boxes(workspace).items() if each} == {
        "JPEGImages/a/0.jpg": [1],
        "JPEGImages/0.jpg": [2],
        "JPEGImages/a/only.jpg": [3],
        "JPEGImages/X.jpg": [5],
    }
    assert told(found) == [
        ("xml-without-photo", "Annotations/1.xml", 1),
        ("xml-without-photo", "Annotations/z.xml", 1),
        ("xml-of-several", "Annotations/1.xml", 1),
    ]


@pytest.mark.parametrize(
    ("xml", "stored", "kind"),
    [
        (voc("10 20 39 59", size="<size><width>160.0</width><height>120</height></size>"), (9, 19, 30, 40), None),
        (voc("10 20 39 59", size="<size><width/><height/></size>"), (9, 19, 30, 40), None),
        (voc("39 59 10 20"), (9, 19, 30, 40), "corners-exchanged"),
        (voc("nan 20 39 59"), None, "not-finite"),
        (voc("1 1 inf 59"), None, "not-finite"),
        (voc("left 1 9 59"), None, "no-box"),
        ("<annotation><object><name>cat</name></object></annotation>", None, "no-box"),
        (voc("1 1 9 9").replace("cat", " "), None, "unknown-category"),
        ("<annotation><object>", None, "broken-annotations"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', None, "broken-annotations"),
    ],
)
def test_a_voc_box_is_right_or_left_out_with_a_finding(
    workspace: Workspace, tmp_path: Path, xml: str, stored: tuple | None, kind: str | None
) -> None:
    save(tmp_path / "p", "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    write(tmp_path / "p" / "Annotations" / "a.xml", xml)
    write(tmp_path / "p" / "Annotations" / "b.xml", voc("1 1 9 9"))
    found = ingest(workspace, tmp_path / "p")
    assert boxes(workspace) == {"JPEGImages/a.jpg": [stored] if stored else [], "JPEGImages/b.jpg": [(0, 0, 9, 9)]}
    assert told(found) == ([(kind, "JPEGImages/a.jpg", 1)] if kind else [])


def test_vocs_without_xml_say_so(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "JPEGImages/a.jpg")
    (tmp_path / "p" / "Annotations").mkdir()
    assert told(ingest(workspace, tmp_path / "p")) == [("no-annotations", "Annotations", 1)]


def test_links_pipes_hidden_files_and_other_formats_are_counted(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "p"
    save(root, "a.jpg", "sub/b.jpg", ".hidden/c.jpg", "._a.jpg", "raw/x.jpg", "__MACOSX/d.jpg")
    save(tmp_path / "elsewhere", "e.jpg")
    for link, target in {
        "sub/up": "..",
        "me.jpg": "me.jpg",
        "twice": "sub",
        "again.jpg": "a.jpg",
        "far": str(tmp_path / "elsewhere"),
        "far2": str(tmp_path / "elsewhere"),
        "nothing.jpg": "not there",
    }.items():
        (root / link).symlink_to(target)
    os.mkfifo(root / "pipe.jpg")
    (root / "raw" / "y.CR2").touch()
    (root / "raw" / "z.cr2").touch()
    found = ingest(workspace, root)
    assert list(boxes(workspace)) == ["a.jpg", "far/e.jpg", "nothing.jpg", "raw/x.jpg", "sub/b.jpg"]
    assert [path for path, _ in found.unreadable] == ["nothing.jpg"]
    assert sorted(told(found)) == [
        ("hidden", "._a.jpg", 1),
        ("hidden", ".hidden", 1),
        ("hidden", "__MACOSX", 1),
        ("link-back", "far2", 1),
        ("link-back", "me.jpg", 1),
        ("link-back", "sub/up", 1),
        ("link-back", "twice", 1),
        ("linked-twice", "again.jpg", 1),
        ("not-a-file", "pipe.jpg", 1),
        ("other-format", ".cr2", 2),
    ]


def test_archives_videos_and_labels_of_yolo_are_counted(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "p"
    save(root, "images/a.jpg", "b.jpg")
    for name in ("more.zip", "old.tar.gz", "x/clip.MP4", "labels/a.txt", "b.txt", "classes.txt", "README.md"):
        write(root / name, "")
    assert sorted(told(ingest(workspace, root))) == [
        ("annotations-not-taken", ".txt", 2),
        ("packed", ".gz", 1),
        ("packed", ".mp4", 1),
        ("packed", ".zip", 1),
    ]
    write(tmp_path / "q" / "photos.zip", "")
    with pytest.raises(UserError, match=r"There are no photos in .*\. Files that end in \.zip are not read\.$"):
        ingest(workspace, tmp_path / "q")


def test_folders_may_be_nested_more_deeply_than_calls(tmp_path: Path) -> None:
    deep, usual = 300, sys.getrecursionlimit()
    save(tmp_path, "d/" * deep + "a.jpg")
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert detect(tmp_path, "folder", None).paths == ["d/" * deep + "a.jpg"]
    finally:
        sys.setrecursionlimit(usual)


def test_annotations_do_not_fit_a_plain_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Option --annotations names a COCO file and does not fit --layout folder\."):
        detect(tmp_path, "folder", tmp_path / "i.json")


def test_several_pictures_and_transparency_are_told_at_every_ingest(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "p", "a.jpg")
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    for name in ("b.gif", "c.tiff"):
        frames[0].save(tmp_path / "p" / name, save_all=True, append_images=frames[1:])
    Image.new("RGBA", (WIDTH, HEIGHT)).save(tmp_path / "p" / "d.png")
    first, again = ingest(workspace, tmp_path / "p"), ingest(workspace, tmp_path / "p")
    here = [("several-pictures", "b.gif", 1), ("several-pictures", "c.tiff", 1), ("transparent", "d.png", 1)]
    assert sorted(told(first)) == here
    assert (again.findings, again.unchanged) == (first.findings, 4)
    frames[0].save(tmp_path / "p" / "b.gif")
    assert sorted(told(ingest(workspace, tmp_path / "p"))) == here[1:]


def test_an_ingest_that_is_repeated_has_the_same_findings_and_the_same_revision(
    workspace: Workspace, tmp_path: Path
) -> None:
    names = tuple(f"{n}.jpg" for n in range(30))
    save(tmp_path / "p", *names)
    objects = [{"image_id": n, "bbox": [-20, 1, 40, 50]} for n in range(1, 31)]
    write(tmp_path / "p" / "annotations" / "i.json", coco(*objects, names=names))
    first, second = (ingest(workspace, tmp_path / "p") for _ in range(2))
    assert second.findings == first.findings
    assert second.dataset.revision == first.dataset.revision
    assert [one.name for one in first.findings] == sorted(names)


def test_more_names_than_are_kept_are_counted_in_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orl_explorer.train.ingest.findings.KEPT", 2)
    found = Findings()
    found.add(KINDS["clipped"].of(name) for name in ("a", "b", "c", "d", "a"))
    assert [(one.name, one.count) for one in found.all()] == [("a", 2), ("b", 1), ("", 2)]
