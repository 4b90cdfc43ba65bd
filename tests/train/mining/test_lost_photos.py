"""Photos that vanish, change or cannot be read before, during and after a mining run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.photos import current_images, dataset_named
from orl_explorer.db.sets.read import complete_set_named, neighbor_ids_of, set_images
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.progress import Stopped
from orl_explorer.train.workspace import Workspace
from tests.named import mine

pytestmark = pytest.mark.usefixtures("remembered")

GONE = "scene-003.jpg"
SKIPPED = f"Skipped {GONE}: the file is not there any more."
OTHERS = sorted(f"scene-{number:03d}.jpg" for number in range(12) if number != 3)


@pytest.fixture
def own(own_photos: Path, workspace: Workspace) -> Workspace:
    ingest(workspace, own_photos, name="own")
    weights.add(workspace, "starter", "starter")
    return workspace


def mined(workspace: Workspace, name: str, config: MineConfig, new_run: Callable, progress: object = None) -> None:
    mine(
        workspace, "own", "starter", name, config, run_id=new_run(workspace, "mine", name), workers=1, progress=progress
    )


def photos_of(workspace: Workspace, name: str) -> list[str]:
    """Paths of a set's photos; the photos of its neighbours are among them."""
    found = complete_set_named(workspace.store, name)
    images = {image.id: image.path for image in set_images(workspace.store, found.id)}
    neighbors = neighbor_ids_of(workspace.store, found.id, list(images))
    assert {n for ids in neighbors.values() for n in ids} <= images.keys()
    return sorted(images.values())


def states(workspace: Workspace) -> dict[str, str]:
    rows = current_images(workspace.store, dataset_named(workspace.store, "own").id)
    return {row.path: row.status for row in rows if row.status != "ok"}


@pytest.mark.parametrize("again", [True, False], ids=["ingested again", "only deleted"])
def test_a_gone_photo_is_left_out_though_its_features_are_stored(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable, again: bool
) -> None:
    mined(own, "before", tiny_mine, new_run)
    (own_photos / GONE).unlink()
    if again:
        ingest(own, own_photos, name="own")
    heard = stop_after()
    mined(own, "after", tiny_mine, new_run, heard)
    assert photos_of(own, "after") == OTHERS
    assert (SKIPPED in heard.lines) is not again
    assert "Left out of the set: 1 gone." in heard.lines
    assert (complete_set_named(own.store, "after").summary or {})["left_out"] == {"gone": 1}
    assert "left_out" not in (complete_set_named(own.store, "before").summary or {})
    assert states(own) == {GONE: "gone"}
    assert len(photos_of(own, "before")) == 12


@pytest.mark.parametrize(
    "phase",
    ["Running selective search", "Embedding photos", "Computing attention maps", "Filtering RoIs", "Embedding RoIs"],
)
def test_a_photo_that_vanishes_in_any_phase_is_left_out(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable, phase: str
) -> None:
    heard = stop_after()
    heard.phase = lambda name, _: (own_photos / GONE).unlink(missing_ok=True) if name == phase else None
    config = tiny_mine.model_copy(update={"object_weight": 0.25})
    mined(own, "set", config, new_run, heard)
    assert SKIPPED in heard.lines
    assert (
        "Left out 1 photo: 1 gone. If you restore or change photos, run `orl ingest` on their folder again."
        in heard.lines
    )
    assert photos_of(own, "set") == OTHERS
    assert states(own) == {GONE: "gone"}


def test_a_changed_photo_is_left_out_and_used_after_the_next_ingest(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    mined(own, "before", tiny_mine, new_run)
    shutil.copy(own_photos / "scene-001.jpg", own_photos / GONE)
    heard = stop_after()
    mined(own, "after", tiny_mine, new_run, heard)
    assert f"Skipped {GONE}: the file has changed since it was ingested." in heard.lines
    assert photos_of(own, "after") == OTHERS
    assert (complete_set_named(own.store, "after").summary or {})["left_out"] == {"unreadable": 1}
    ingest(own, own_photos, name="own")
    mined(own, "last", tiny_mine, new_run)
    assert len(photos_of(own, "last")) == 12


def test_a_copy_of_a_lost_photo_stays(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    shutil.copy(own_photos / GONE, own_photos / "twin.jpg")
    ingest(own, own_photos, name="own")
    for phase in ("Embedding photos", "Embedding RoIs"):
        shutil.copy(own_photos / "twin.jpg", own_photos / GONE)
        ingest(own, own_photos, name="own")
        shutil.rmtree(own.embeddings, ignore_errors=True)
        heard = stop_after()
        heard.phase = lambda name, _, at=phase: (own_photos / GONE).unlink(missing_ok=True) if name == at else None
        mined(own, phase, tiny_mine, new_run, heard)
        assert photos_of(own, phase) == [*OTHERS, "twin.jpg"]


def test_a_run_whose_photo_vanishes_after_its_rois_were_stored_resumes_without_it(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    run, heard = new_run(own, "mine", "set"), stop_after()

    def stop(name: str, total: int) -> None:
        if name == "Embedding RoIs":
            raise Stopped

    heard.phase = stop
    with pytest.raises(Stopped):
        mine(own, "own", "starter", "set", tiny_mine, run_id=run, workers=1, progress=heard)
    (own_photos / GONE).unlink()
    mine(own, "own", "starter", "set", tiny_mine, run_id=run, workers=1)
    assert photos_of(own, "set") == OTHERS


def test_a_folder_that_is_not_there_loses_no_photo(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    own_photos.rename(own_photos.parent / "elsewhere")
    missing = (
        f"The folder {own_photos} of the dataset 'own' is not there. Mount it, or, if the photos are elsewhere, run "
        "`orl datasets move own FOLDER`."
    )
    with pytest.raises(UserError) as refused:
        mined(own, "set", tiny_mine, new_run)
    assert str(refused.value) == missing
    own_photos.mkdir()  # where nothing is mounted
    with pytest.raises(UserError) as refused:
        mined(own, "again", tiny_mine, new_run)
    assert str(refused.value) == (
        f"12 of the 12 photos of 'own' cannot be read in {own_photos}, such as scene-000.jpg: the file is not there "
        "any more. If the photos are elsewhere, run `orl datasets move own FOLDER`. If they were deleted, run "
        f"`orl ingest {own_photos} --name own`."
    )
    assert states(own) == {}
    own_photos.rmdir()
    (own_photos.parent / "elsewhere").rename(own_photos)
    mined(own, "third", tiny_mine, new_run)
    own_photos.rename(own_photos.parent / "elsewhere")
    heard = stop_after()
    mined(own, "stored", tiny_mine, new_run, heard)  # which needs no photo
    assert f"{missing} Mining uses stored features." in heard.lines
    assert len(photos_of(own, "stored")) == 12


def test_a_folder_that_is_unmounted_during_a_run_loses_no_photo(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, stop_after: Callable
) -> None:
    heard = stop_after()

    def unmount(name: str, total: int) -> None:
        if name == "Embedding RoIs":
            own_photos.rename(own_photos.parent / "aside")
            own_photos.mkdir()

    heard.phase = unmount
    with pytest.raises(UserError, match=r"^12 of the 12 photos of 'own' cannot be read in "):
        mined(own, "set", tiny_mine, new_run, heard)
    assert states(own) == {}


def test_a_photo_without_permission_is_unreadable_and_not_gone(
    own: Workspace,
    own_photos: Path,
    tiny_mine: MineConfig,
    new_run: Callable,
    stop_after: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stat = Path.stat

    def fails(path: Path, **how: bool) -> os.stat_result:
        if path.name == GONE:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    heard = stop_after()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", fails)
        mined(own, "set", tiny_mine, new_run, heard)
    assert f"Skipped {GONE}: permission denied." in heard.lines
    assert states(own) == {GONE: "unreadable"}
    assert ingest(own, own_photos, name="own").returned == 1
    assert states(own) == {}


def test_a_folder_without_permission_stops_the_run_and_loses_no_photo(
    own: Workspace, own_photos: Path, tiny_mine: MineConfig, new_run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def denied(path: Path, **how: bool) -> os.stat_result:
        if path.parent == own_photos:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    run = new_run(own, "mine", "set")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", denied)
        patched.setattr("orl_explorer.train.lost.os.scandir", closed)
        with pytest.raises(
            UserError, match=f"^Cannot read the folder {own_photos} of the dataset 'own': Permission denied.$"
        ):
            mine(own, "own", "starter", "set", tiny_mine, run_id=run, workers=1)
    assert states(own) == {}
