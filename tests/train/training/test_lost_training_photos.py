"""Training without the photos that are gone, and the sentences about photos that vanish during it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.photos import dataset_named
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.progress import Stopped
from orl_explorer.train.training.methods import BYOLConfig, ORLConfig
from orl_explorer.train.training.stages import pretrain, train
from orl_explorer.train.training.trained_on import FILE, Correspondences
from orl_explorer.train.workspace import Workspace
from tests.named import mine

pytestmark = pytest.mark.usefixtures("remembered")

GONE = "scene-003.jpg"


@pytest.fixture
def own(own_photos: Path, workspace: Workspace) -> Workspace:
    ingest(workspace, own_photos, name="own")
    return workspace


def kept(workspace: Workspace, run: int) -> Correspondences:
    return Correspondences.load(workspace.run_folder(run) / FILE)


def test_stage_1_leaves_out_a_gone_photo(
    own: Workspace, own_photos: Path, tiny_byol: BYOLConfig, new_run: Callable, stop_after: Callable
) -> None:
    (own_photos / GONE).unlink()
    run, heard = new_run(own, "pretrain", "a"), stop_after()
    pretrain(own, dataset_named(own.store, "own"), "a", tiny_byol, run_id=run, progress=heard)
    assert f"Skipped {GONE}: the file is not there any more." in heard.lines
    assert "Not used: 1 gone and 0 unreadable photos of 'own'." in heard.lines
    assert len(kept(own, run).files) == 11


@pytest.mark.parametrize("again", [True, False], ids=["ingested again", "only deleted"])
def test_stage_3_leaves_out_a_gone_photo_as_query_and_as_neighbour(
    own: Workspace,
    own_photos: Path,
    tiny_mine: MineConfig,
    tiny_orl: ORLConfig,
    new_run: Callable,
    stop_after: Callable,
    again: bool,
) -> None:
    weights.add(own, "starter", "starter")
    mine(own, "own", "starter", "set", tiny_mine, run_id=new_run(own, "mine", "set"), workers=1)
    (own_photos / GONE).unlink()
    shutil.copy(own_photos / "scene-001.jpg", own_photos / "scene-002.jpg")  # changed
    if again:
        ingest(own, own_photos, name="own")
    run, heard = new_run(own, "train", "a"), stop_after()
    train(own, complete_set_named(own.store, "set"), "a", tiny_orl, run_id=run, progress=heard)
    data = kept(own, run)
    assert sorted(Path(file).name for file in data.files) == [f"scene-{n:03d}.jpg" for n in range(12) if n != 3]
    assert len(data.queries) == 11
    assert "Left out 1 of the set's 12 photos, which are gone or unreadable, and their pairs." in heard.lines
    assert (
        "Photos that have changed since the set was mined: 1. The boxes of its pairs are cut from what the files hold "
        "now. To use the new photos, mine again."
    ) in heard.lines


@pytest.mark.parametrize("workers", [0, 2])
def test_a_photo_that_breaks_during_a_training_is_named(
    own: Workspace, own_photos: Path, tiny_byol: BYOLConfig, new_run: Callable, stop_after: Callable, workers: int
) -> None:
    config, heard = tiny_byol.model_copy(update={"workers": workers, "batch_size": 12}), stop_after()
    run, dataset = new_run(own, "pretrain", "a"), dataset_named(own.store, "own")
    heard.phase = lambda name, _: (own_photos / GONE).write_bytes(b"cut") if name == "Training" else None
    with pytest.raises(UserError) as named:
        pretrain(own, dataset, "a", config, run_id=run, progress=heard)
    assert str(named.value) == (
        f"Cannot read {own_photos}/{GONE}: not an image that Pillow can identify. Restore it and resume the run, or "
        "run `orl ingest` on its folder and start a new run, which leaves it out."
    )
    ingest(own, own_photos, name="own")
    again = new_run(own, "pretrain", "b")
    pretrain(own, dataset, "b", tiny_byol, run_id=again)
    assert len(kept(own, again).files) == 11


def test_a_run_is_not_resumed_without_its_photos(
    own: Workspace, own_photos: Path, tiny_byol: BYOLConfig, new_run: Callable, stop_after: Callable
) -> None:
    run, dataset = new_run(own, "pretrain", "a"), dataset_named(own.store, "own")
    with pytest.raises(Stopped):
        pretrain(own, dataset, "a", tiny_byol, run_id=run, progress=stop_after(2))
    aside = (own_photos / GONE).rename(own_photos.parent / GONE)
    with pytest.raises(UserError) as refused:
        pretrain(own, dataset, "a", tiny_byol, run_id=run)
    assert str(refused.value) == (
        f"1 of the 12 photos of this run cannot be read, such as {own_photos}/{GONE}: the file is not there any more. "
        "Restore them and resume the run, or start a new run, which leaves them out."
    )
    aside.rename(own_photos / GONE)
    pretrain(own, dataset, "a", tiny_byol, run_id=run)


def test_a_folder_that_is_not_there_stops_both_stages(
    own: Workspace, own_photos: Path, tiny_byol: BYOLConfig, new_run: Callable
) -> None:
    own_photos.rename(own_photos.parent / "elsewhere")
    with pytest.raises(
        UserError, match=rf"^The folder {own_photos} of the dataset 'own' is not there. Mount it, or, if"
    ):
        pretrain(own, dataset_named(own.store, "own"), "a", tiny_byol, run_id=new_run(own, "pretrain", "a"))
