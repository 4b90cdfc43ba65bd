"""Results of earlier runs are found by their settings and data, not by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.people.verdicts import judge_pair
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.runs import add_run, run_by_id, runs, update_run
from orl_explorer.db.sets.manage import delete_set, rename_set
from orl_explorer.db.sets.read import complete_set_named, pair_rows
from orl_explorer.db.store import StoreError
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.protocols import CorrespondenceConfig, KNNConfig
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs import once
from orl_explorer.train.jobs.kinds import MakeMap, job_of
from orl_explorer.train.jobs.repeat import command_of
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.maps import find_map, rois_map
from orl_explorer.train.progress import Progress
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import evaluation, mining_of, pretraining, training

pytestmark = pytest.mark.usefixtures("runs_in_process")


@pytest.fixture
def photos(small_scenes: Path, tmp_path: Path) -> Path:
    """The twelve small scenes in a folder that the test may change."""
    return Path(shutil.copytree(small_scenes, tmp_path / "photos"))


@pytest.fixture
def place(photos: Path, tmp_path: Path) -> Workspace:
    """A workspace with the scenes and the starter."""
    made = open_workspace(tmp_path / "workspace")
    ingest(made, photos, name="demo")
    weights.add(made, "starter", "starter")
    return made


def grow(place: Workspace, photos: Path) -> None:
    with Image.open(photos / "scene-000.jpg") as photo:
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / "scene-100.jpg")
    ingest(place, photos, name="demo")


def edit(place: Workspace, photos: Path) -> None:
    with Image.open(photos / "scene-003.jpg") as photo:
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / "scene-003.jpg")
    ingest(place, photos, name="demo")


@pytest.mark.parametrize("change", [grow, edit])
def test_a_pretraining_is_not_answered_by_one_on_other_photos(
    place: Workspace, photos: Path, tiny_byol: BYOLConfig, change: Callable
) -> None:
    config = tiny_byol.model_copy(update={"epochs": 1})
    first = once.trained(place, pretraining(place, "demo", config, "byol"))
    assert once.trained(place, pretraining(place, "demo", config, "byol")).id == first.id
    change(place, photos)
    assert once.run_that_did(place, pretraining(place, "demo", config)) is None
    second = once.trained(place, pretraining(place, "demo", config, "byol"))
    assert (second.name, second.id != first.id) == ("byol-2", True)


@pytest.mark.parametrize("change", [grow, edit])
def test_a_mining_is_not_answered_by_one_of_other_photos(
    place: Workspace, photos: Path, tiny_mine: MineConfig, change: Callable
) -> None:
    first = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "set"))
    assert once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "set")).id == first.id
    change(place, photos)
    assert once.run_that_did(place, mining_of(place, "demo", "starter", tiny_mine)) is None


def test_a_mining_of_annotations_is_not_answered_by_one_before_they_were_corrected(
    scenes: Path, tmp_path: Path, tiny_mine: MineConfig
) -> None:
    folder = Path(shutil.copytree(scenes, tmp_path / "scenes"))
    place = open_workspace(tmp_path / "workspace")
    ingest(place, folder, name="demo")
    weights.add(place, "starter", "starter")
    config = tiny_mine.model_copy(update={"proposals": "annotations"})
    first = once.mined(place, mining_of(place, "demo", "starter", config, "set"))
    assert once.mined(place, mining_of(place, "demo", "starter", config, "set")).id == first.id
    file = folder / "annotations" / "scenes.json"
    file.write_text(file.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    ingest(place, folder, name="demo")
    assert once.run_that_did(place, mining_of(place, "demo", "starter", config)) is None


def test_a_training_is_not_answered_by_one_on_a_deleted_set_of_the_same_name(
    place: Workspace, tiny_mine: MineConfig, tiny_orl: ORLConfig
) -> None:
    config = tiny_orl.model_copy(update={"epochs": 1, "batch_size": 12})
    deleted = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    first = once.trained(place, training(place, "a", config, "orl"))
    assert once.trained(place, training(place, "a", config, "orl")).id == first.id
    delete_set(place.store, deleted.id, "ada")
    other = once.mined(place, mining_of(place, "demo", "starter", tiny_mine.model_copy(update={"neighbors": 2}), "a"))
    assert (other.name, other.id != deleted.id) == ("a", True)
    second = once.trained(place, training(place, "a", config, "orl"))
    assert (second.name, second.weights_sha256 != first.weights_sha256) == ("orl-2", True)

    # Nor does a run go on with the set that has taken the name of its own.
    assert first.run_id is not None
    with pytest.raises(UserError, match=r"The correspondence set 'a' was deleted\. Start another run"):
        job_of(run_by_id(place.store, first.run_id)).work(place, first.run_id, Progress())


def test_a_training_is_recognised_under_the_new_name_of_its_set(
    place: Workspace, tiny_mine: MineConfig, tiny_orl: ORLConfig
) -> None:
    config = tiny_orl.model_copy(update={"epochs": 1, "batch_size": 12})
    mined = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    first = once.trained(place, training(place, "a", config, "orl"))
    rename_set(place.store, mined.id, "b")
    assert once.trained(place, training(place, "b", config, "orl")).id == first.id
    assert first.run_id is not None
    assert job_of(run_by_id(place.store, first.run_id)).names(place) == {"correspondence": "b"}


def test_a_map_is_of_its_own_set_whatever_the_set_is_called(place: Workspace, tiny_mine: MineConfig) -> None:
    mined = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    waiting = add_run(place.store, MakeMap.showing(rois_map(place, mined)).row(place)).id
    with pytest.raises(StoreError, match=rf"Run {waiting} \(map of RoIs of a by starter\) uses the .* set 'a'"):
        rename_set(place.store, mined.id, "b")
    update_run(place.store, waiting, status="cancelled")
    rename_set(place.store, mined.id, "b")
    once.mined(place, mining_of(place, "demo", "starter", tiny_mine.model_copy(update={"neighbors": 2}), "a"))
    job = job_of(run_by_id(place.store, waiting))
    job.work(place, waiting, Progress())
    assert find_map(place, rois_map(place, complete_set_named(place.store, "b"))) is not None
    assert find_map(place, rois_map(place, complete_set_named(place.store, "a"))) is None
    assert command_of(run_by_id(place.store, waiting)) == ["orl", "map", "--rois-of", "b"]
    delete_set(place.store, mined.id, "ada")
    with pytest.raises(UserError, match=r"The correspondence set 'b' was deleted\. Start another run"):
        job.work(place, waiting, Progress())


def test_a_training_without_wrong_pairs_is_not_answered_by_one_before_they_were_judged(
    place: Workspace, tiny_mine: MineConfig, tiny_orl: ORLConfig
) -> None:
    config = tiny_orl.model_copy(update={"epochs": 1, "batch_size": 12, "leave_out_wrong": True})
    mined = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    first = once.trained(place, training(place, "a", config, "orl"))
    assert once.trained(place, training(place, "a", config, "orl")).id == first.id
    [pair, *_] = pair_rows(place.store, mined.id, [1])[1]
    judge_pair(place.store, pair.query_roi_id, pair.key_roi_id, "wrong", "ada")
    assert once.run_that_did(place, training(place, "a", config)) is None
    others = config.model_copy(update={"leave_out_wrong": False})
    assert once.run_that_did(place, training(place, "a", others)) is None


def test_an_evaluation_is_not_answered_by_one_of_other_files(place: Workspace, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    for number, path in enumerate(sorted(photos.iterdir())):
        target = folder / ("train" if number % 2 else "val") / ("red" if number % 3 else "green")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    config = KNNConfig(ks=(1,), k=1)
    first = once.evaluated(place, evaluation(place, "starter", str(folder), config))
    assert once.evaluated(place, evaluation(place, "starter", str(folder), config)).id == first.id
    shutil.copy(photos / "scene-000.jpg", folder / "train" / "red" / "one-more.jpg")
    assert once.run_that_did(place, evaluation(place, "starter", str(folder), config)) is None


def test_an_evaluation_on_a_data_set_is_not_answered_by_one_before_it_grew(
    place: Workspace, photos: Path, scenes: Path
) -> None:
    ingest(place, scenes, name="annotated")
    config = CorrespondenceConfig()
    saw = evaluation(place, "starter", "annotated", config).saw(place)
    run = evaluation(place, "starter", "annotated", config).row(place)
    with place.store.session() as session:
        session.add(run)
    update_run(place.store, run.id, status="done", log_path=f"runs/{run.id}/log.txt")
    run = run_by_id(place.store, run.id)
    assert not saw(run)  # it does not say on what it was made: an earlier version's
    place.run_folder(run.id).mkdir(parents=True)
    revision = dataset_named(place.store, "annotated").revision
    (place.run_folder(run.id) / "measured_on.txt").write_text(f"revision {revision}")
    assert saw(run)
    (place.run_folder(run.id) / "measured_on.txt").write_text(f"revision {revision - 1}")
    assert not evaluation(place, "starter", "annotated", config).saw(place)(run)


def test_an_encoder_of_another_id_is_another_encoder(place: Workspace, tiny_mine: MineConfig) -> None:
    once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "set"))
    weights.add(place, "random:resnet18", "chance")
    assert once.run_that_did(place, mining_of(place, "demo", "chance", tiny_mine)) is None
    assert complete_set_named(place.store, "set").encoder_id == encoder_named(place.store, "starter").id


def test_a_mining_whose_end_was_not_recorded_is_done_when_it_is_resumed(
    place: Workspace, tiny_mine: MineConfig
) -> None:
    mined = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    assert mined.run_id is not None
    update_run(place.store, mined.run_id, status="crashed")
    again = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    assert (again.id, [run.status for run in runs(place.store)]) == (mined.id, ["done"])


def test_a_set_is_recognised_under_its_new_name(place: Workspace, tiny_mine: MineConfig) -> None:
    mined = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    rename_set(place.store, mined.id, "b")
    again = once.mined(place, mining_of(place, "demo", "starter", tiny_mine, "a"))
    assert (again.id, again.name, len(runs(place.store))) == (mined.id, "b", 1)
    assert once.run_that_did(place, mining_of(place, "demo", "starter", tiny_mine, "a"), exact=True) is None
    found = once.run_that_did(place, mining_of(place, "demo", "starter", tiny_mine, "b"), exact=True)
    assert found is not None and found.id == mined.run_id
    delete_set(place.store, mined.id, "ann")
    assert once.run_that_did(place, mining_of(place, "demo", "starter", tiny_mine, "a")) is None
