"""Datasets whose photos lie in another folder now."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.lost import Lost, mark_lost
from orl_explorer.db.models import Run
from orl_explorer.db.people.tags import tag_photos, tags_of
from orl_explorer.db.photos import current_images, dataset_named, unite, usable_images
from orl_explorer.db.runs.runs import add_run, update_run
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs.datasets import move_photos
from orl_explorer.train.training.trained_on import FILE, Correspondences, photos_alone
from orl_explorer.train.workspace import Workspace
from tests.train.noise import save_noise


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Four photos: 0.png to 2.png and below/3.png."""
    for number in range(3):
        save_noise(tmp_path / "old" / f"{number}.png", number)
    save_noise(tmp_path / "old" / "below" / "3.png", 3)
    return tmp_path / "old"


@pytest.fixture
def moved(workspace: Workspace, old: Path) -> Path:
    """The new folder of the dataset 'trip'."""
    ingest(workspace, old, name="trip")
    return old.rename(old.parent / "new")


def rows(workspace: Workspace, name: str = "trip") -> dict[str, int]:
    return {row.path: row.id for row in current_images(workspace.store, dataset_named(workspace.store, name).id)}


def test_rows_and_tags_stay_and_the_next_ingest_finds_nothing_new(workspace: Workspace, moved: Path) -> None:
    before = rows(workspace)
    tag_photos(workspace.store, [before["1.png"]], "sea", "ann")
    for path in moved.rglob("*.png"):
        os.utime(path, ns=(5, 5))  # as a copy without times
    found = move_photos(workspace, "trip", moved)
    assert (len(found.stamps), found.missing, found.different, found.digests) == (4, (), (), 4)
    assert found.dataset.root == str(moved)
    again = ingest(workspace, moved, name="trip")
    assert (again.new, again.changed, again.unchanged, again.gone) == (0, 0, 4, ())
    assert rows(workspace) == before
    assert tags_of(workspace.store, [before["1.png"]]) == {before["1.png"]: ("sea",)}


@pytest.mark.parametrize("how", ["relative", "slash", "link"])
def test_the_new_folder_may_be_named_in_any_way(
    workspace: Workspace, moved: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(moved.parent)
    (moved.parent / "link").symlink_to(moved)
    named = {"relative": Path("new"), "slash": Path(f"{moved}/"), "link": moved.parent / "link"}[how]
    assert move_photos(workspace, "trip", named).dataset.root == str(moved)


def test_missing_and_different_photos_are_refused_unless_accepted(workspace: Workspace, moved: Path) -> None:
    (moved / "0.png").unlink()
    save_noise(moved / "1.png", 100)
    (moved / "2.png").write_bytes((moved / "2.png").read_bytes() + b"0")
    said = (
        f"{moved} does not hold the photos of 'trip': of 4, 1 are there, 1 (such as 0.png) is missing and 2 "
        "(such as 1.png) are different. To move the dataset nevertheless, accept missing and different photos "
        "(--accept-missing --accept-different)."
    )
    for accept in ((), ("missing",), ("different",)):
        with pytest.raises(UserError) as refused:
            move_photos(workspace, "trip", moved, accept=accept)
        if not accept:
            assert str(refused.value) == said
    assert dataset_named(workspace.store, "trip").root == str(moved.parent / "old")
    before = rows(workspace)
    found = move_photos(workspace, "trip", moved, accept=("missing", "different"))
    assert (found.dataset.image_count, found.dataset.gone_count) == (3, 1)
    again = ingest(workspace, moved, name="trip")
    assert (again.changed, again.unchanged, again.gone) == (2, 1, ())
    after = rows(workspace)
    assert [path for path in after if after[path] != before[path]] == ["1.png", "2.png"]


def test_a_folder_of_other_photos_is_refused_in_any_case(workspace: Workspace, moved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as refused:
        move_photos(workspace, "trip", tmp_path / "empty", accept=("missing", "different"))
    assert str(refused.value) == (
        f"{tmp_path}/empty does not hold the photos of 'trip': of 4, 0 are there, 4 (such as 0.png) are missing. "
        "Name the folder that holds 0.png."
    )
    with pytest.raises(UserError, match=f"^There is no folder {tmp_path}/nowhere.$"):
        move_photos(workspace, "trip", tmp_path / "nowhere")
    with pytest.raises(UserError, match=f"^{moved}/0.png is not a folder of photos.$"):
        move_photos(workspace, "trip", moved / "0.png")
    with pytest.raises(StoreError, match="^There is no dataset 'nothing'. Known datasets: trip.$"):
        move_photos(workspace, "nothing", moved)


def test_the_content_of_every_photo_is_compared_on_request(
    workspace: Workspace, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orl_explorer.train.jobs.datasets.SAMPLE", 0)
    content = bytearray((moved / "1.png").read_bytes())
    content[-20] ^= 1
    (moved / "1.png").write_bytes(content)
    with pytest.raises(UserError, match=r"of 4, 3 are there, 1 \(such as 1.png\) is different"):
        move_photos(workspace, "trip", moved, check=True)
    assert move_photos(workspace, "trip", moved).digests == 0


def test_the_folder_of_another_dataset_is_named(workspace: Workspace, moved: Path) -> None:
    with pytest.raises(StoreError) as refused:
        ingest(workspace, moved, name="trip")
    assert str(refused.value) == (
        f"The dataset 'trip' holds the photos of {moved.parent}/old. Choose another name for those of {moved}, or, if "
        f"they are the same photos, run `orl datasets move trip {moved}`."
    )
    ingest(workspace, moved, name="again")
    assert move_photos(workspace, "trip", moved).also == ("again",)


def test_a_union_moves_by_its_parts(workspace: Workspace, moved: Path, tmp_path: Path) -> None:
    save_noise(tmp_path / "other" / "a.png", 7)
    ingest(workspace, tmp_path / "other")
    unite(workspace.store, ["trip", "other"])
    with pytest.raises(UserError, match=r"^'other\+trip' unites the datasets other \+ trip. Move each of them.$"):
        move_photos(workspace, "other+trip", moved)
    move_photos(workspace, "trip", moved)
    files = photos_alone(workspace, dataset_named(workspace.store, "other+trip")).files
    assert [Path(file).is_file() for file in files] == [True] * 5


@pytest.mark.parametrize("layout", ["coco", "voc"])
def test_annotated_layouts_move(workspace: Workspace, tmp_path: Path, layout: str) -> None:
    root = tmp_path / "old"
    save_noise(root / ("images" if layout == "coco" else "JPEGImages") / "a.png", 1)
    (root / ("annotations" if layout == "coco" else "Annotations")).mkdir()
    if layout == "coco":
        image = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
        box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10]}
        content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
        (root / "annotations" / "all.json").write_text(json.dumps(content))
    ingest(workspace, root, name="trip")
    new = Path(shutil.move(root, tmp_path / "new"))
    before = rows(workspace)
    move_photos(workspace, "trip", new)
    again = ingest(workspace, new, name="trip")
    assert (again.new, again.unchanged, again.dataset.annotation_count) == (0, 1, layout == "coco")
    assert rows(workspace) == before


def test_runs_know_their_photos_in_the_new_folder_and_live_ones_are_waited_for(
    workspace: Workspace, moved: Path, new_run: Callable
) -> None:
    dataset = dataset_named(workspace.store, "trip")
    run = add_run(workspace.store, Run(kind="pretrain", name="a", status="done", params={}, dataset_id=dataset.id))
    workspace.run_folder(run.id).mkdir(parents=True)
    photos_alone(workspace, dataset).save(workspace.run_folder(run.id) / FILE)
    waits = new_run(workspace, "mine", "b")
    update_run(workspace.store, waits, dataset_id=dataset.id, pid=os.getpid(), host="elsewhere", heartbeat_at=None)
    with pytest.raises(UserError, match=f"^Run {waits} uses the photos of 'trip'. Wait until it ends, or stop it.$"):
        move_photos(workspace, "trip", moved)
    update_run(workspace.store, waits, status="cancelled")
    move_photos(workspace, "trip", moved)
    kept = Correspondences.load(workspace.run_folder(run.id) / FILE)
    assert kept.shows_the_same(photos_alone(workspace, dataset))
    assert kept.files[0] == f"{moved}/0.png"


def test_photos_that_are_all_lost_are_no_data_to_train_on(workspace: Workspace, moved: Path) -> None:
    ids = [image.id for image in usable_images(workspace.store, dataset_named(workspace.store, "trip").id)]
    mark_lost(workspace.store, {i: Lost("unreadable", "truncated") for i in ids})
    with pytest.raises(UserError, match=r"^None of the photos of 'trip' can be read\. Run `orl ingest` on its folder"):
        photos_alone(workspace, dataset_named(workspace.store, "trip"))
