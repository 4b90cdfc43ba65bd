"""Row ids of one store and the files of another: a workspace whose store was replaced or restored from a backup."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_named, digests_of, usable_images
from orl_explorer.db.runs.runs import add_run, run_by_id, update_run
from orl_explorer.db.sets.read import complete_set_named, rois_of
from orl_explorer.orl.pixels import center_crop, crop_box, file_digest, read_image
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs import launcher
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.maps import find_map, make_map
from orl_explorer.train.mining.orders import HEADER, make_matches, orders_of
from orl_explorer.train.run_folders import new_folder, own_folder
from orl_explorer.train.training.methods import BYOLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import launch_pretrain, mine, photos_map, rois_map

pytestmark = pytest.mark.usefixtures("remembered")

NewRun = Callable[..., int]


@pytest.fixture(scope="session")
def mirrored(small_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other photos with the same names and sizes: the small scenes, mirrored and in another order."""
    folder = tmp_path_factory.mktemp("mirrored") / "scenes"
    folder.mkdir()
    paths = sorted(small_scenes.iterdir())
    for path, other in zip(paths, reversed(paths), strict=True):
        with Image.open(other) as photo:
            photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / path.name, quality=92)
    return folder


def mined(workspace: Workspace, config: MineConfig, new_run: NewRun, heard: object = None, name: str = "set") -> None:
    run = new_run(workspace, "mine", name)
    mine(workspace, "demo", "starter", name, config, run_id=run, workers=1, progress=heard)  # type: ignore[arg-type]
    update_run(workspace.store, run, status="done")


def started_over(workspace: Workspace, photos: Path) -> Workspace:
    """The same folder with a store of other photos. The files of the first photos are still there."""
    workspace.store.close()
    for path in workspace.path.glob("orl.sqlite*"):
        path.unlink()
    again = open_workspace(workspace.path)
    ingest(again, photos, name="demo")
    weights.add(again, "starter", "starter")
    return again


def assert_features_are_of_their_pixels(workspace: Workspace, name: str) -> None:
    """Embed every photo and its first RoI again, from the files."""
    features = Features(workspace, encoder_named(workspace.store, "starter"))
    dataset = dataset_named(workspace.store, "demo")
    images = list(usable_images(workspace.store, dataset.id))
    rois = rois_of(workspace.store, complete_set_named(workspace.store, name).id, [i.id for i in images])
    stored = features.images.get(photo_keys(images))
    for image, row in zip(images, stored, strict=True):
        photo, boxes = read_image(Path(dataset.root) / image.path), rois[image.id].boxes[:1]
        whole = features.encoder.embed_images(center_crop(photo)[None])[0]
        np.testing.assert_allclose(row, whole, atol=1e-4)
        [part] = features.rois.get(roi_keys(image.digest or 0, boxes))
        np.testing.assert_allclose(part, features.encoder.embed_rois(crop_box(photo, boxes[0])[None])[0], atol=1e-4)


# Which store it is -------------------------------------------------------------------------------------------


def test_a_store_has_an_identity_that_copies_keep_and_others_do_not_have(tmp_path: Path) -> None:
    one, other = open_workspace(tmp_path / "one"), open_workspace(tmp_path / "other")
    assert len(one.store.identity) == len(other.store.identity) == 32
    assert one.store.identity != other.store.identity
    one.store.close()
    shutil.copytree(one.path, tmp_path / "copy")
    for _ in range(2):
        assert open_workspace(tmp_path / "copy").store.identity == one.store.identity


# Features ----------------------------------------------------------------------------------------------------


def test_a_new_store_with_other_photos_finds_none_of_the_features_in_the_folder(
    ready: Workspace, mirrored: Path, tiny_mine: MineConfig, new_run: NewRun, stop_after: Callable
) -> None:
    mined(ready, tiny_mine, new_run)
    again, heard = started_over(ready, mirrored), stop_after()
    mined(again, tiny_mine, new_run, heard)
    assert "Photos embedded: 12, reused: 0." in heard.lines
    assert_features_are_of_their_pixels(again, "set")


def test_a_new_store_with_the_same_photos_finds_all_of_them(
    ready: Workspace, small_scenes: Path, tiny_mine: MineConfig, new_run: NewRun, stop_after: Callable
) -> None:
    mined(ready, tiny_mine, new_run)
    again, heard = started_over(ready, small_scenes), stop_after()
    mined(again, tiny_mine, new_run, heard)
    assert "Photos embedded: 0, reused: 12." in heard.lines
    assert any(line.startswith("RoIs embedded: 0, reused: ") for line in heard.lines)
    assert_features_are_of_their_pixels(again, "set")


def test_a_backup_that_gives_ids_once_more_finds_no_features_of_the_photos_that_had_them(
    ready: Workspace, mirrored: Path, small_scenes: Path, tiny_mine: MineConfig, new_run: NewRun, tmp_path: Path
) -> None:
    ready.store.close()
    shutil.copy(ready.path / "orl.sqlite", tmp_path / "backup.sqlite")
    ingest(ready, mirrored, name="more")
    mine(ready, "more", "starter", "lost", tiny_mine, run_id=new_run(ready, "mine", "lost"), workers=1)
    later = [i.id for i in usable_images(ready.store, dataset_named(ready.store, "more").id)]
    ready.store.close()

    for path in ready.path.glob("orl.sqlite*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.sqlite", ready.path / "orl.sqlite")
    restored = open_workspace(ready.path)
    folder = tmp_path / "turned"
    shutil.copytree(small_scenes, folder)
    for path in folder.iterdir():
        with Image.open(path) as photo:
            photo.transpose(Image.Transpose.ROTATE_180).save(path)
    ingest(restored, folder, name="turned")
    images = list(usable_images(restored.store, dataset_named(restored.store, "turned").id))
    assert [i.id for i in images] == later  # the same ids, for other photos
    features = Features(restored, encoder_named(restored.store, "starter"))
    assert features.images.missing(photo_keys(images)) == 12


def test_copies_of_a_photo_are_embedded_once(
    ready: Workspace, small_scenes: Path, tiny_mine: MineConfig, new_run: NewRun, stop_after: Callable, tmp_path: Path
) -> None:
    shutil.copytree(small_scenes, tmp_path / "twice" / "one")
    shutil.copytree(small_scenes, tmp_path / "twice" / "two")
    ingest(ready, tmp_path / "twice", name="twice")
    heard = stop_after()
    run = new_run(ready, "mine", "set")
    found = mine(ready, "twice", "starter", "set", tiny_mine, run_id=run, workers=1, progress=heard)
    assert found.image_count == 24
    assert "Photos embedded: 12, reused: 12." in heard.lines
    assert Features(ready, encoder_named(ready.store, "starter")).images.rows == 12


def test_a_key_of_a_box_is_its_own() -> None:
    boxes = np.array([[0, 0, 96, 96], [0, 0, 96, 97], [1, 0, 96, 96], [-1, 0, 96, 96]], np.int16)
    keys = roi_keys(0x1234_5678_9ABC_DEF0, boxes)
    assert len(set(keys.tolist())) == 4
    assert keys[0] == 0x1234_5678_9ABC_DEF0 ^ (96 << 32 | 96 << 48)
    assert roi_keys(0, boxes).tolist() == [0, 0, 0, 0]  # of a photo whose digest nobody took
    assert roi_keys(np.array([7, 0, 7, 7]), boxes).tolist()[1] == 0


def test_a_file_that_has_changed_since_it_was_ingested_is_not_embedded_under_the_old_ones_name(
    ready: Workspace, small_scenes: Path, tmp_path: Path, tiny_mine: MineConfig, new_run: NewRun
) -> None:
    shutil.copytree(small_scenes, tmp_path / "own")
    ingest(ready, tmp_path / "own", name="own")
    run = new_run(ready, "mine", "first")
    mine(ready, "own", "starter", "first", tiny_mine, run_id=run, workers=1)  # now its regions are proposed
    shutil.rmtree(ready.embeddings)
    with Image.open(tmp_path / "own" / "scene-004.jpg") as photo:
        photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "own" / "scene-004.jpg")
    again = mine(ready, "own", "starter", "set", tiny_mine, run_id=new_run(ready, "mine", "set"), workers=1)
    assert (again.image_count, (again.summary or {})["left_out"]) == (11, {"unreadable": 1})
    assert Features(ready, encoder_named(ready.store, "starter")).images.rows == 11


def test_a_file_that_was_only_touched_is_still_the_same(
    ready: Workspace, small_scenes: Path, tmp_path: Path, tiny_mine: MineConfig, new_run: NewRun
) -> None:
    shutil.copytree(small_scenes, tmp_path / "own")
    ingest(ready, tmp_path / "own", name="own")
    for path in (tmp_path / "own").iterdir():
        os.utime(path, ns=(5, 5))
    run = new_run(ready, "mine", "set")
    assert mine(ready, "own", "starter", "set", tiny_mine, run_id=run, workers=1).image_count == 12


def test_photos_from_before_digests_get_them_when_they_are_mined(
    ready: Workspace, small_scenes: Path, tiny_mine: MineConfig, new_run: NewRun
) -> None:
    with sqlite3.connect(ready.path / "orl.sqlite") as connection:
        connection.execute("UPDATE image SET digest = NULL WHERE id > 3")
    mined(ready, tiny_mine, new_run)
    paths = sorted(small_scenes.iterdir())
    assert digests_of(ready.store, np.array([1, 5, 12])).tolist() == [file_digest(paths[i]) for i in (0, 4, 11)]
    assert_features_are_of_their_pixels(ready, "set")


def test_features_that_are_keyed_by_ids_are_made_anew_and_the_log_says_so(
    ready: Workspace, tiny_mine: MineConfig, new_run: NewRun, stop_after: Callable
) -> None:
    row = encoder_named(ready.store, "starter")
    folder, heard = ready.embeddings / "starter", stop_after()
    folder.mkdir(parents=True)
    header = {"dtype": "<f4", "width": row.image_features, "weights_sha256": row.weights_sha256}
    (folder / "images.json").write_text(json.dumps(header))
    np.arange(1, 13).astype("<i8").tofile(folder / "images.ids")
    np.ones((12, row.image_features), "<f4").tofile(folder / "images.vectors")
    mined(ready, tiny_mine, new_run, heard)
    said = "12 features were stored by an earlier version, without a record of their pixels. Computing them again."
    assert heard.lines.count(said) == 1
    assert "Photos embedded: 12, reused: 0." in heard.lines
    assert not (folder / "images.ids").exists()
    assert not (folder / "images.vectors").exists()
    assert_features_are_of_their_pixels(ready, "set")


# Folders of runs -----------------------------------------------------------------------------------------------


def test_a_training_of_a_new_store_does_not_go_on_with_the_checkpoint_of_another(
    photographed: Workspace, mirrored: Path, tiny_byol: BYOLConfig, runs_in_process: None
) -> None:
    first = launcher.wait(photographed, launch_pretrain(photographed, "demo", tiny_byol, "byol").id)
    assert (first.id, first.status) == (1, "done")
    kept = {path: path.read_bytes() for path in photographed.run_folder(1).rglob("*") if path.is_file()}
    again = started_over(photographed, mirrored)
    second = launcher.wait(again, launch_pretrain(again, "demo", tiny_byol, "byol").id)
    assert (second.id, second.status, second.log_path) == (1, "done", "runs/1-2/log.txt")
    log = launcher.read_log(again, second)
    assert log.startswith("runs/1 holds the files of another store's run. This run uses runs/1-2.\n")
    assert "Resumed" not in log
    assert encoder_named(again.store, "byol").weights_path == "runs/1-2/encoder.pt"
    assert {path: path.read_bytes() for path in kept} == kept  # nothing of the other is lost

    plain = open_workspace(again.path.with_name("plain"))
    ingest(plain, mirrored, name="demo")
    alone = launcher.wait(plain, launch_pretrain(plain, "demo", tiny_byol, "byol").id)
    assert alone.log_path == "runs/1/log.txt"
    learned = [encoder_named(w.store, "byol").weights_sha256 for w in (again, plain)]
    assert learned[0] == learned[1]


def entered(workspace: Workspace, name: str = "x", kind: str = "pretrain", **params: object) -> Run:
    return add_run(workspace.store, Run(kind=kind, name=name, params=params))


def test_a_folder_says_whose_it_is(workspace: Workspace) -> None:
    run = entered(workspace, dataset="demo")
    assert new_folder(workspace, run.id) == workspace.path / "runs" / "1"
    said = json.loads((workspace.path / "runs" / "1" / "config.json").read_text())
    assert said == {
        "store": workspace.store.identity,
        "run": 1,
        "created_at": run.created_at.isoformat(),
        "kind": "pretrain",
        "name": "x",
        "dataset": "demo",
    }
    assert own_folder(workspace, run.id) == workspace.path / "runs" / "1"


def test_a_folder_of_a_run_that_a_restored_backup_does_not_know_is_refused(workspace: Workspace) -> None:
    lost = entered(workspace)
    new_folder(workspace, lost.id)
    with workspace.store.session() as session:
        session.delete(session.get(Run, lost.id))
    run = entered(workspace)
    assert run.id == lost.id
    with pytest.raises(
        UserError,
        match=r"runs/1 holds the files of another run, .* Move the folder away, then resume run 1: it starts again\.",
    ):
        own_folder(workspace, run.id)
    assert new_folder(workspace, run.id).name == "1-2"
    assert workspace.run_folder(run.id).name == "1-2"
    assert own_folder(workspace, run.id).name == "1-2"


@pytest.mark.parametrize("content", [None, "", "{", '{"kind": "mine"}', "[1]"])
def test_a_folder_that_does_not_say_whose_it_is_is_refused(workspace: Workspace, content: str | None) -> None:
    run = entered(workspace)
    folder = workspace.run_folder(run.id)
    folder.mkdir(parents=True)
    (folder / "checkpoint-000000001.pt").touch()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match="holds the files of another run"):
        own_folder(workspace, run.id)


def test_a_folder_from_before_they_said_so_is_known_by_the_settings_in_it(workspace: Workspace) -> None:
    run = entered(workspace, dataset="demo", config={"epochs": 3})
    folder = workspace.run_folder(run.id)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"kind": "pretrain", "name": "x"} | run.params))
    update_run(workspace.store, run.id, params=run.params | {"dataset": "renamed"})
    assert own_folder(workspace, run.id) == folder
    assert json.loads((folder / "config.json").read_text())["store"] == workspace.store.identity


def test_an_evaluation_from_before_is_not_gone_on_with(workspace: Workspace) -> None:
    run = entered(workspace, kind="evaluate", data="/voc")
    folder = workspace.run_folder(run.id)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"kind": "evaluate", "name": "x", "data": "/voc"}))
    with pytest.raises(UserError, match="Run 1 was started by an earlier version, .* Start a new evaluation instead"):
        own_folder(workspace, run.id)


def test_a_run_with_a_foreign_folder_is_not_resumed_and_stays_as_it_was(workspace: Workspace) -> None:
    run = entered(workspace)
    update_run(workspace.store, run.id, status="crashed")
    folder = workspace.run_folder(run.id)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("of another")
    with pytest.raises(UserError, match="holds the files of another run"):
        launcher.resume(workspace, run.id)
    assert run_by_id(workspace.store, run.id).status == "crashed"


# Orders and maps -----------------------------------------------------------------------------------------------


def test_orders_and_maps_of_another_stores_set_are_not_taken_for_ones_own(
    ready: Workspace, mirrored: Path, tiny_mine: MineConfig, new_run: NewRun
) -> None:
    mined(ready, tiny_mine, new_run)
    make_matches(ready, complete_set_named(ready.store, "set"))
    make_map(ready, photos_map(ready, "demo", "starter"))
    make_map(ready, rois_map(ready, "set"))
    assert orders_of(ready, complete_set_named(ready.store, "set")) is not None
    assert find_map(ready, rois_map(ready, "set")) is not None

    again = started_over(ready, mirrored)
    mined(again, tiny_mine, new_run)
    found = complete_set_named(again.store, "set")
    assert (again.orders / str(found.id) / HEADER).is_file()
    assert orders_of(again, found) is None
    assert find_map(again, photos_map(again, "demo", "starter")) is None
    assert find_map(again, rois_map(again, "set")) is None
    assert len(make_matches(again, found).keys) == found.pair_count
    assert orders_of(again, found) is not None
