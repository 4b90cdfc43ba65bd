"""Photos that are gone at the next ingest, and those that come back."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from orl_explorer.db.models import Image as Row
from orl_explorer.db.photos import current_images, dataset_named
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import Ingested, ingest
from orl_explorer.train.workspace import Workspace
from tests.train.noise import save_noise

pytestmark = pytest.mark.both_databases

THERE_NO_MORE = "the file is not there any more; noticed "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six photos: 0.png to 5.png."""
    for number in range(6):
        save_noise(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


def rows(workspace: Workspace, name: str = "photos") -> dict[str, Row]:
    return {row.path: row for row in current_images(workspace.store, dataset_named(workspace.store, name).id)}


def counts(found: Ingested) -> dict[str, int]:
    kept = found.dataset
    return {
        "new": found.new,
        "changed": found.changed,
        "unchanged": found.unchanged,
        "returned": found.returned,
        "renamed": found.renamed,
        "ok": kept.image_count,
        "unreadable": kept.unreadable_count,
        "gone": kept.gone_count,
    }


NOTHING = dict.fromkeys(("new", "changed", "unchanged", "returned", "renamed", "ok", "unreadable", "gone"), 0)


def test_a_deleted_photo_is_gone_and_named_once_and_counted_always(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder)
    (folder / "3.png").unlink()
    found = ingest(workspace, folder)
    assert counts(found) == NOTHING | {"unchanged": 5, "ok": 5, "gone": 1}
    assert found.gone == ("3.png",)
    row = rows(workspace)["3.png"]
    assert row.status == "gone"
    assert row.error is not None and row.error.startswith(THERE_NO_MORE) and row.error.endswith(" UTC")
    again = ingest(workspace, folder)
    assert (again.gone, counts(again)) == ((), NOTHING | {"unchanged": 5, "ok": 5, "gone": 1})
    assert rows(workspace)["3.png"].error == row.error


@pytest.mark.parametrize("same_time", [True, False])
def test_a_photo_that_comes_back_has_its_row_again(workspace: Workspace, folder: Path, same_time: bool) -> None:
    ingest(workspace, folder)
    before = rows(workspace)["3.png"]
    (folder / "3.png").rename(folder.parent / "aside.png")
    ingest(workspace, folder)
    (folder.parent / "aside.png").rename(folder / "3.png")
    if not same_time:
        os.utime(folder / "3.png", ns=(7, 7))
    assert counts(ingest(workspace, folder)) == NOTHING | {"unchanged": 6, "returned": 1, "ok": 6}
    row = rows(workspace)["3.png"]
    assert (row.id, row.digest, row.status, row.error) == (before.id, before.digest, "ok", None)
    assert row.mtime_ns == (before.mtime_ns if same_time else 7)


def test_another_photo_under_the_name_of_a_gone_one_has_a_row_of_its_own(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder)
    before = rows(workspace)["3.png"]
    (folder / "3.png").unlink()
    ingest(workspace, folder)
    save_noise(folder / "3.png", 100, width=50)
    assert counts(ingest(workspace, folder)) == NOTHING | {"unchanged": 5, "changed": 1, "ok": 6}
    assert rows(workspace)["3.png"].id != before.id
    assert rows(workspace)["3.png"].width == 50


def test_a_renamed_photo_is_gone_and_new_with_the_same_content(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder)
    (folder / "3.png").rename(folder / "three.png")
    found = ingest(workspace, folder)
    assert counts(found) == NOTHING | {"new": 1, "unchanged": 5, "renamed": 1, "ok": 6, "gone": 1}
    assert rows(workspace)["3.png"].digest == rows(workspace)["three.png"].digest


@pytest.mark.parametrize("what", ["folder", "dangling link"])
def test_a_name_that_no_longer_belongs_to_a_file_is_gone(workspace: Workspace, folder: Path, what: str) -> None:
    ingest(workspace, folder)
    (folder / "3.png").unlink()
    if what == "folder":
        (folder / "3.png").mkdir()
    else:
        (folder / "3.png").symlink_to(folder / "nowhere.png")
    found = ingest(workspace, folder)
    assert counts(found) == NOTHING | {"unchanged": 5, "ok": 5, "gone": 1}
    reason = "its name belongs to a folder now; noticed " if what == "folder" else THERE_NO_MORE
    assert (rows(workspace)["3.png"].error or "").startswith(reason)


def test_a_photo_that_coco_lists_and_that_was_deleted_is_gone(workspace: Workspace, tmp_path: Path) -> None:
    images = [{"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} for number in range(3)]
    for number in range(3):
        save_noise(tmp_path / "coco" / "images" / f"{number}.png", number)
    (tmp_path / "coco" / "annotations").mkdir()
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10]}]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "coco" / "annotations" / "all.json").write_text(json.dumps(content))
    ingest(workspace, tmp_path / "coco")
    aside = (tmp_path / "coco" / "images" / "1.png").rename(tmp_path / "1.png")
    assert counts(ingest(workspace, tmp_path / "coco")) == NOTHING | {"unchanged": 2, "ok": 2, "gone": 1}
    aside.rename(tmp_path / "coco" / "images" / "1.png")
    assert counts(ingest(workspace, tmp_path / "coco")) == NOTHING | {"unchanged": 3, "returned": 1, "ok": 3}
    assert dataset_named(workspace.store, "coco").categories == {"cat": 1}


def test_a_disk_that_does_not_answer_makes_no_photo_gone(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(workspace, folder)
    before, stat = rows(workspace)["3.png"].id, Path.stat

    def fails(path: Path, **how: bool) -> os.stat_result:
        if path.name == "3.png":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return stat(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", fails)
        found = ingest(workspace, folder)
    assert counts(found) == NOTHING | {"unchanged": 5, "ok": 5, "unreadable": 1}
    assert found.unreadable == (("3.png", "stale file handle"),)
    assert counts(ingest(workspace, folder)) == NOTHING | {"unchanged": 6, "returned": 1, "ok": 6}
    assert rows(workspace)["3.png"].id == before


def test_an_unreadable_photo_is_tried_again(workspace: Workspace, folder: Path) -> None:
    (folder / "3.png").write_bytes(b"no photo")
    ingest(workspace, folder)
    assert counts(ingest(workspace, folder)) == NOTHING | {"unchanged": 6, "ok": 5, "unreadable": 1}
    with workspace.store.session() as session:  # as if an earlier version could not read it
        row = session.get(Row, rows(workspace)["4.png"].id)
        assert row is not None
        row.status, row.error, row.digest, row.width = "unreadable", "of a kind that cannot be read", None, 0
    assert counts(ingest(workspace, folder)) == NOTHING | {"changed": 1, "unchanged": 5, "ok": 5, "unreadable": 1}


def test_a_folder_that_lost_all_its_photos_is_refused(workspace: Workspace, folder: Path) -> None:
    ingest(workspace, folder, name="my trip")
    shutil.rmtree(folder)
    missing = (
        f"The folder {folder} of the dataset 'my trip' is not there. Mount it, or, if the photos are elsewhere, run "
        "`orl datasets move 'my trip' FOLDER`."
    )
    for here in ("nothing", "file"):
        with pytest.raises(UserError) as refused:
            ingest(workspace, folder, name="my trip")
        assert str(refused.value) == missing
        if here == "nothing":
            folder.write_text("a file now")
    folder.unlink()
    folder.mkdir()
    with pytest.raises(UserError) as refused:
        ingest(workspace, folder, name="my trip")
    assert str(refused.value) == (
        f"The dataset 'my trip' has 6 photos, but {folder} holds none. Mount it, or, if the photos are elsewhere, run "
        "`orl datasets move 'my trip' FOLDER`."
    )
    assert {row.status for row in rows(workspace, "my trip").values()} == {"ok"}


def test_photos_that_are_no_longer_listed_but_there_stay(workspace: Workspace, tmp_path: Path) -> None:
    for number in range(3):
        save_noise(tmp_path / "coco" / f"{number}.png", number)
    for name, numbers in (("all", range(3)), ("two", range(2))):
        images = [{"id": number, "file_name": f"{number}.png", "width": 40, "height": 30} for number in numbers]
        content = {"images": images, "annotations": [], "categories": []}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    ingest(workspace, tmp_path / "coco", annotations=tmp_path / "all.json")
    found = ingest(workspace, tmp_path / "coco", annotations=tmp_path / "two.json")
    assert counts(found) == NOTHING | {"unchanged": 2, "ok": 3}
