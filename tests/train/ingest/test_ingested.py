"""Ingest of new, changed, unreadable and rotated photos, also repeated."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select, text, update

from orl_explorer.db.gallery.order import GalleryOrder, gallery_ids
from orl_explorer.db.marks import Tag
from orl_explorer.db.people.kept_out import keep_out, kept_out
from orl_explorer.db.people.tags import known_tags, tag_photos
from orl_explorer.db.photos import AnnotatedBox, annotations_of, known_files
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import Annotated, boxes_as_shown
from orl_explorer.train.ingest.ingest import Ingested, ingest
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.both_databases

TABLES = (
    "SELECT id, name, root, layout, image_count, categories, revision FROM dataset",
    "SELECT * FROM image",
    "SELECT image_id, category, x, y, w, h FROM annotation",
)


def save(path: Path, size: tuple[int, int] = (64, 48), orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (90, 120, 40)).save(path, exif=exif)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos in sub-folders, one hidden photo, and one file that is not a photo."""
    root = tmp_path / "trip"
    save(root / "day 1" / "a.jpg")
    save(root / "b.png", (30, 20))
    save(root / ".trash" / "old.jpg")
    (root / "broken.jpg").write_bytes(b"to whom it may concern")
    return root


def content(workspace: Workspace) -> list:
    with workspace.store.session() as session:
        return [sorted(map(tuple, session.execute(text(query)))) for query in TABLES]


def counts(found: Ingested) -> tuple[int, int, int]:
    return found.new, found.changed, found.unchanged


def image_id(workspace: Workspace, path: str) -> int:
    return known_files(workspace.store, 1, [path])[path].id


def test_a_folder_with_sub_folders_is_taken_in(workspace: Workspace, folder: Path) -> None:
    found = ingest(workspace, folder)
    assert counts(found) == (3, 0, 0)
    assert (found.dataset.name, found.dataset.layout, found.dataset.root) == ("trip", "folder", str(folder))
    assert (found.dataset.image_count, found.dataset.unreadable_count) == (2, 1)
    rows = known_files(workspace.store, 1, ["day 1/a.jpg", "b.png", "broken.jpg", ".trash/old.jpg"])
    assert {p: (i.width, i.height, i.status) for p, i in rows.items()} == {
        "day 1/a.jpg": (64, 48, "ok"),
        "b.png": (30, 20, "ok"),
        "broken.jpg": (0, 0, "unreadable"),
    }
    assert found.unreadable == (("broken.jpg", "not an image that Pillow can identify"),)
    assert rows["broken.jpg"].error == "not an image that Pillow can identify"


def test_again_it_changes_nothing(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder)
    before = content(workspace)
    again = ingest(workspace, folder)
    assert counts(again) == (0, 0, 3)
    assert again.unreadable == ()
    assert content(workspace) == before


def test_photos_are_never_touched(workspace: Workspace, folder: Path) -> None:
    def stamps() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}

    before = stamps()
    ingest(workspace, folder)
    assert stamps() == before


def test_a_changed_file_gets_a_new_row_and_the_old_one_names_it(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder)
    old = image_id(workspace, "b.png")
    save(folder / "b.png", (50, 70))
    again = ingest(workspace, folder)
    assert counts(again) == (0, 1, 2)
    assert again.dataset.image_count == 2
    new = image_id(workspace, "b.png")
    with workspace.store.session() as session:
        rows = session.execute(text("SELECT id, width, superseded_by FROM image WHERE path = 'b.png' ORDER BY id"))
        assert list(map(tuple, rows)) == [(old, 30, new), (new, 50, None)]


def test_a_photo_that_breaks_and_one_that_is_mended_change_places(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder)
    (folder / "b.png").write_bytes(b"")
    save(folder / "broken.jpg")
    again = ingest(workspace, folder)
    assert counts(again) == (0, 2, 1)
    assert [path for path, _ in again.unreadable] == ["b.png"]
    assert (again.dataset.image_count, again.dataset.unreadable_count) == (2, 1)


def test_a_new_photo_is_added_to_those_there_are(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder)
    save(folder / "c.jpg")
    assert counts(ingest(workspace, folder)) == (1, 0, 3)


def write_coco(root: Path, boxes: dict[str, list[list[float]]], size: tuple[int, int] = (64, 48)) -> None:
    images = [{"id": i, "file_name": n, "width": size[0], "height": size[1]} for i, n in enumerate(boxes)]
    every = [{"image_id": i, "category_id": 1, "bbox": b} for i, own in enumerate(boxes.values()) for b in own]
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    coco = {"images": images, "annotations": every, "categories": [{"id": 1, "name": "dog"}]}
    (root / "annotations" / "boxes.json").write_text(json.dumps(coco))


def test_annotations_corrected_later_are_taken_over(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "pets" / "images" / "a.jpg")
    write_coco(tmp_path / "pets", {"a.jpg": [[1, 2, 3, 4], [5, 6, 7, 8]]})
    assert ingest(workspace, tmp_path / "pets").dataset.annotation_count == 2
    write_coco(tmp_path / "pets", {"a.jpg": [[1, 2, 30, 40]]})
    again = ingest(workspace, tmp_path / "pets")
    assert counts(again) == (0, 0, 1)
    assert again.dataset.annotation_count == 1
    assert annotations_of(workspace.store, 1) == [AnnotatedBox("dog", 1, 2, 30, 40)]


def test_an_unreadable_photo_gets_no_boxes_however_often_it_is_looked_at(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "pets" / "images" / "a.jpg")
    write_coco(tmp_path / "pets", {"a.jpg": [[1, 2, 3, 4]], "gone.jpg": [[5, 6, 7, 8]]})
    first = ingest(workspace, tmp_path / "pets")
    assert first.unreadable == (("images/gone.jpg", f"not found in {tmp_path}/pets/images"),)
    assert first.dataset.annotation_count == 1
    before = content(workspace)
    again = ingest(workspace, tmp_path / "pets")
    assert again.dataset.annotation_count == 1
    assert content(workspace) == before


@pytest.mark.parametrize(
    ("orientation", "declared", "expected"),
    [
        (1, (64, 40), (8, 16, 24, 8)),
        (3, (64, 40), (32, 16, 24, 8)),
        (6, (64, 40), (16, 8, 8, 24)),  # annotated in the stored frame: turned with the photo
        (6, (40, 64), (8, 16, 24, 8)),  # annotated as shown: left as it is
        (8, (0, 0), (16, 32, 8, 24)),  # nothing declared: the stored frame
    ],
)
def test_boxes_follow_the_turn_of_their_photo(
    workspace: Workspace, tmp_path: Path, orientation: int, declared: tuple[int, int], expected: tuple[int, ...]
) -> None:
    save(tmp_path / "pets" / "images" / "a.jpg", (64, 40), orientation)
    write_coco(tmp_path / "pets", {"a.jpg": [[8, 16, 24, 8]]}, declared)
    ingest(workspace, tmp_path / "pets")
    (box,) = annotations_of(workspace.store, 1)
    assert (box.x, box.y, box.w, box.h) == expected
    row = known_files(workspace.store, 1, ["images/a.jpg"])["images/a.jpg"]
    assert (row.width, row.height) == ((64, 40) if orientation < 5 else (40, 64))


def test_of_a_square_photo_boxes_are_taken_to_be_in_the_stored_frame() -> None:
    (box,), _ = boxes_as_shown(Annotated((AnnotatedBox("dog", 0, 0, 10, 20),), 50, 50), 6, 50, 50)
    assert (box.x, box.y, box.w, box.h) == (30, 0, 20, 10)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("empty", "There are no photos in "),
        ("gone", "There is no folder "),
        ("a.jpg", " is not a folder of photos."),
    ],
)
def test_what_holds_no_photo_is_refused_and_makes_no_data_set(
    workspace: Workspace, tmp_path: Path, path: str, sentence: str
) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    save(tmp_path / "a.jpg")
    with pytest.raises(UserError) as refusal:
        ingest(workspace, tmp_path / path)
    assert sentence in str(refusal.value)
    assert content(workspace)[0] == []


def test_a_name_belongs_to_one_folder(workspace: Workspace, folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "other" / "a.jpg")
    ingest(workspace, folder, name="mine")
    with pytest.raises(StoreError, match="The dataset 'mine' holds the photos of"):
        ingest(workspace, tmp_path / "other", name="mine")


def test_it_reports_how_far_it_is(workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orl_explorer.train.ingest.ingest.BATCH", 2)
    told: list[int] = []
    ingest(workspace, folder, report=told.append)
    assert told == [2, 3]


def test_a_link_that_leads_nowhere_is_unreadable(workspace: Workspace, folder: Path) -> None:
    (folder / "link.jpg").symlink_to(folder / "no such file")
    found = ingest(workspace, folder)
    assert ("link.jpg", "the file is not there any more") in found.unreadable


def test_annotations_that_come_later_bring_their_layout(workspace: Workspace, tmp_path: Path) -> None:
    """Else what COCO marks as a crowd would count as an object."""
    save(tmp_path / "trip" / "a.jpg")
    assert ingest(workspace, tmp_path / "trip").dataset.layout == "folder"
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": 1}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    found = ingest(workspace, tmp_path / "trip", annotations=tmp_path / "instances.json")
    assert found.dataset.layout == "coco"
    assert annotated_objects(workspace.store, [1]).crowd.tolist() == [True]
    assert ingest(workspace, tmp_path / "trip", layout="folder").dataset.layout == "coco"  # it keeps its annotations


def test_a_changed_photo_keeps_its_tags(workspace: Workspace, tmp_path: Path) -> None:
    save(tmp_path / "trip" / "a.jpg")
    dataset = ingest(workspace, tmp_path / "trip").dataset
    keep_out(workspace.store, [1], "ann")
    tag_photos(workspace.store, [1], "odd", "bob")
    with workspace.store.session() as session:
        session.execute(update(Tag).values(created_at=datetime(2026, 1, 2, 3, 4, 5)))
    order = GalleryOrder(dataset.id, tag="odd")
    assert gallery_ids(workspace.store, order).tolist() == [1]
    save(tmp_path / "trip" / "a.jpg", size=(80, 48))
    assert ingest(workspace, tmp_path / "trip").changed == 1
    assert kept_out(workspace.store, dataset.id).tolist() == [2]
    assert gallery_ids(workspace.store, order).tolist() == [2]
    assert known_tags(workspace.store, dataset.id) == {"keep out of mining": 1, "odd": 1}
    with workspace.store.session() as session:
        tags = session.execute(select(Tag.tag, Tag.author, Tag.created_at).where(Tag.image_id == 2).order_by(Tag.tag))
        when = datetime(2026, 1, 2, 3, 4, 5)
        assert list(map(tuple, tags)) == [("keep out of mining", "ann", when), ("odd", "bob", when)]
