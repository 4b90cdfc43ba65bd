"""Added photos and united datasets: only new photos are computed, and the set is the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orl_explorer.db.gallery.order import GalleryOrder, gallery_ids
from orl_explorer.db.photos import (
    AnnotatedBox,
    dataset_named,
    datasets,
    members_of,
    replace_annotations,
    unite,
    usable_images,
)
from orl_explorer.db.sets import read
from orl_explorer.db.store import StoreError
from orl_explorer.train.encoders import weights
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.quality import quality_of
from orl_explorer.train.training.trained_on import photos_alone
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import mine
from tests.train.conftest import StopAfter

pytestmark = pytest.mark.usefixtures("remembered")


def described(workspace: Workspace, dataset: str, set_id: int) -> dict[str, Any]:
    """Return a set by the names of its photos, to compare it with a set in another store."""
    images = list(usable_images(workspace.store, dataset_named(workspace.store, dataset).id))
    candidates = read.rois_of(workspace.store, set_id, [i.id for i in images])
    return {
        image.path: (
            candidates[image.id].boxes.tolist(),
            [(n.rank, n.image.path, n.similarity) for n in read.neighbors_of(workspace.store, set_id, image.id)],
            read.pairs_of(workspace.store, set_id, image.id),
        )
        for image in images
    }


@pytest.fixture
def halves(small_scenes: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Seven of the scenes in one folder, five in another."""
    folders = tmp_path / "first", tmp_path / "second"
    for folder, names in zip(folders, (slice(None, None, 2), slice(1, None, 2)), strict=True):
        folder.mkdir()
        for path in sorted(small_scenes.iterdir())[names]:
            shutil.copy2(path, folder)
    shutil.move(folders[1] / "scene-011.jpg", folders[0])
    return folders


@pytest.fixture
def from_scratch(ready: Workspace, tiny_mine: MineConfig, new_run: Callable) -> dict[str, Any]:
    """The set of mining all twelve scenes at once."""
    run = new_run(ready, "mine", "set")
    set_id = mine(ready, "demo", "starter", "set", tiny_mine, run_id=run, workers=1).id
    return described(ready, "demo", set_id)


@pytest.fixture
def other(tmp_path: Path) -> Workspace:
    made = open_workspace(tmp_path / "other")
    weights.add(made, "starter", "starter")
    return made


def test_photos_added_later_are_all_that_is_mined_and_the_set_is_that_of_all_at_once(
    other: Workspace, halves: tuple[Path, Path], from_scratch: dict, tiny_mine: MineConfig, new_run: Callable
) -> None:
    folder, heard = halves[0], StopAfter()
    ingest(other, folder, name="demo")
    mine(other, "demo", "starter", "few", tiny_mine, run_id=new_run(other, "mine", "few"), workers=1)
    for path in halves[1].iterdir():
        shutil.copy2(path, folder)
    ingest(other, folder, name="demo")
    run = new_run(other, "mine", "all")
    made = mine(other, "demo", "starter", "all", tiny_mine, run_id=run, workers=1, progress=heard)
    assert "Proposals computed: 5, reused: 7." in heard.lines
    assert "Photos embedded: 5, reused: 7." in heard.lines
    new = sum(len(from_scratch[path.name][0]) for path in halves[1].iterdir())
    assert f"RoIs embedded: {new}, reused: {made.candidate_count - new}." in heard.lines
    assert described(other, "demo", made.id) == from_scratch


def test_two_data_sets_are_mined_as_one_and_nothing_is_computed_twice(
    other: Workspace, halves: tuple[Path, Path], from_scratch: dict, tiny_mine: MineConfig, new_run: Callable
) -> None:
    for folder in halves:
        ingest(other, folder)
        run = new_run(other, "mine", folder.name)
        mine(other, folder.name, "starter", folder.name, tiny_mine, run_id=run, workers=1)
    whole, heard = unite(other.store, ["second", "first"]), StopAfter()
    assert (whole.name, whole.layout, whole.root, whole.image_count) == ("first+second", "union", "first + second", 12)
    run = new_run(other, "mine", "both")
    made = mine(other, "first+second", "starter", "both", tiny_mine, run_id=run, workers=1, progress=heard)
    assert "Proposals computed: 0, reused: 12." in heard.lines
    assert "Photos embedded: 0, reused: 12." in heard.lines
    assert f"RoIs embedded: 0, reused: {made.candidate_count}." in heard.lines
    assert described(other, "first+second", made.id) == from_scratch
    assert quality_of(other, "both")["image_coverage"] > 0
    assert [Path(file).parent.name for file in photos_alone(other, whole).files] == ["first"] * 7 + ["second"] * 5
    assert len(gallery_ids(other.store, GalleryOrder(whole.id, made.id))) == 12


def test_a_union_follows_its_members_and_is_made_once(
    workspace: Workspace, halves: tuple[Path, Path], small_scenes: Path
) -> None:
    for folder in halves:
        ingest(workspace, folder)
    whole = unite(workspace.store, ["first", "second", "first"])
    assert unite(workspace.store, ["second", "first"]).id == whole.id
    assert unite(workspace.store, ["second"]).name == "second"
    order = GalleryOrder(whole.id)
    assert len(gallery_ids(workspace.store, order)) == 12
    shutil.copy(small_scenes / "scene-011.jpg", halves[1] / "again.jpg")
    ingest(workspace, halves[1])
    assert dataset_named(workspace.store, "first+second").image_count == 13
    assert len(gallery_ids(workspace.store, order)) == 13
    ids = [image.id for image in usable_images(workspace.store, whole.id)]
    assert ids == sorted(ids)
    assert len(ids) == 13


def test_the_revision_of_a_union_grows_with_a_change_of_its_members_and_not_without(
    workspace: Workspace, halves: tuple[Path, Path], small_scenes: Path
) -> None:
    for folder in halves:
        ingest(workspace, folder)
    unite(workspace.store, ["first", "second"])

    def revision() -> int:
        return dataset_named(workspace.store, "first+second").revision

    before = revision()
    for folder in halves:
        ingest(workspace, folder)  # nothing has changed
    assert unite(workspace.store, ["first", "second"]).revision == before
    shutil.copy(small_scenes / "scene-011.jpg", halves[1] / "again.jpg")
    ingest(workspace, halves[1])
    grown = revision()
    assert grown > before
    first = next(usable_images(workspace.store, dataset_named(workspace.store, "first").id))
    replace_annotations(workspace.store, {first.id: (AnnotatedBox("dog", 1, 2, 30, 40),)})
    assert revision() == grown + 1
    replace_annotations(workspace.store, {first.id: (AnnotatedBox("dog", 1, 2, 30, 40),)})
    assert revision() == grown + 1
    (halves[1] / "again.jpg").unlink()
    ingest(workspace, halves[1])
    assert revision() > grown + 1


def test_a_union_of_unions_has_the_photos_of_each_once(
    workspace: Workspace, halves: tuple[Path, Path], small_scenes: Path
) -> None:
    for folder in (*halves, small_scenes):
        ingest(workspace, folder)
    unite(workspace.store, ["first", "second"])
    whole = unite(workspace.store, ["first+second", "second", "scenes"])
    with workspace.store.session() as session:
        assert len(members_of(session, whole.id)) == 3
    assert (whole.name, whole.image_count) == ("first+second+scenes+second", 24)


def test_a_union_cannot_take_the_name_of_another_data_set(workspace: Workspace, halves: tuple[Path, Path]) -> None:
    ingest(workspace, halves[0])
    ingest(workspace, halves[1])
    ingest(workspace, halves[1], name="first+second")
    with pytest.raises(StoreError, match=r"'first\+second' is not the union of first and second"):
        unite(workspace.store, ["first", "second"])
    with pytest.raises(StoreError, match="There is no dataset 'third'"):
        unite(workspace.store, ["first", "third"])
    assert [d.name for d in datasets(workspace.store)] == ["first", "first+second", "second"]
