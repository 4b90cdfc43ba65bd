"""Maps are computed once, kept, and marked as outdated when their data change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.db.people.selections import keep_selection
from orl_explorer.db.sets.read import find_set, rois_of
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.launcher import wait
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.maps import find_map, make_map, points_of
from orl_explorer.train.progress import Stopped
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.named import launch_map, photos_map, rois_map

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture
def mine(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the mined demo."""
    shutil.copytree(mined_workspace.path, tmp_path / "mine")
    return open_workspace(tmp_path / "mine")


def test_a_map_is_kept_and_comes_out_the_same_again(mine: Workspace) -> None:
    shown = photos_map(mine, "demo", "starter")
    assert find_map(mine, shown) is None
    made = make_map(mine, shown)
    assert made.points.images.tolist() == list(range(1, 13))
    kept = find_map(mine, shown)
    assert kept is not None
    assert kept.fresh
    assert np.array_equal(kept.places, made.places)
    assert np.array_equal(make_map(mine, shown).places, made.places)
    assert [p.name for p in (mine.embeddings / "starter" / "maps").iterdir()] == ["photos-1.npz"]


def test_a_map_is_old_when_photos_have_come_and_new_once_they_have_features(
    mine: Workspace, scenes: Path, tmp_path: Path
) -> None:
    from sqlalchemy import select, update

    from orl_explorer.db.models import Dataset, Image

    shown = photos_map(mine, "demo", "starter")
    make_map(mine, shown)
    with mine.store.session() as session:  # one is gone, as if its file had changed
        session.execute(update(Image).where(Image.id == 5).values(superseded_by=5))
        session.execute(update(Dataset).values(revision=Dataset.revision + 1))
        left = session.scalars(select(Image.id).where(Image.superseded_by.is_(None)).order_by(Image.id)).all()
    old = find_map(mine, shown)
    assert old is not None
    assert not old.fresh
    assert len(old.points) == 12  # it can still be looked at
    again = make_map(mine, shown)
    assert again.points.images.tolist() == left
    renewed = find_map(mine, shown)
    assert renewed is not None
    assert renewed.fresh


def test_a_revision_that_changes_no_photo_leaves_the_map_fresh(mine: Workspace) -> None:
    from sqlalchemy import update

    from orl_explorer.db.models import Dataset

    shown = photos_map(mine, "demo", "starter")
    make_map(mine, shown)
    with mine.store.session() as session:
        session.execute(update(Dataset).values(revision=Dataset.revision + 1))  # annotations, say
    found = find_map(mine, shown)
    assert found is not None
    assert found.fresh


def test_a_map_of_rois_shows_those_of_the_set_and_of_a_selection_only_its_photos(mine: Workspace) -> None:
    mined = find_set(mine.store, "demo-starter")
    assert mined is not None
    every = points_of(mine, rois_map(mine, "demo-starter"))
    assert len(every) == mined.candidate_count
    kept = keep_selection(mine.store, mined.dataset_id, [3, 7])
    some = points_of(mine, rois_map(mine, "demo-starter", kept))
    assert some.boxes is not None
    stored = rois_of(mine.store, mined.id, [3, 7])
    assert sorted(some.boxes[some.images == 3].tolist()) == sorted(stored[3].boxes.tolist())
    assert set(some.images.tolist()) == {3, 7}
    made = make_map(mine, rois_map(mine, "demo-starter", kept))
    assert made.places.shape == (len(stored[3].ids) + len(stored[7].ids), 2)
    assert find_map(mine, rois_map(mine, "demo-starter")) is None


def test_rois_are_capped_at_whole_photos(mine: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from orl_explorer.train.mining import maps

    monkeypatch.setattr(maps, "ROIS", 30)
    maps._rois.cache_clear()
    points = points_of(mine, rois_map(mine, "demo-starter"))
    maps._rois.cache_clear()
    assert 0 < len(points) <= 30
    mined = find_set(mine.store, "demo-starter")
    assert mined is not None
    whole = {i: len(r.ids) for i, r in rois_of(mine.store, mined.id, range(1, 13)).items()}
    images, counts = np.unique(points.images, return_counts=True)
    assert {i: whole[i] for i in images.tolist()} == dict(zip(images.tolist(), counts.tolist(), strict=True))


def test_without_features_there_is_no_map_but_a_sentence(ready: Workspace) -> None:
    shown = photos_map(ready, "demo", "starter")
    with pytest.raises(UserError, match="Only 0 photos of 'demo' have stored features of 'starter'"):
        make_map(ready, shown)


def test_a_cancelled_map_leaves_the_one_there_was(mine: Workspace, stop_after: Callable) -> None:
    shown = photos_map(mine, "demo", "starter")
    made = make_map(mine, shown)
    with pytest.raises(Stopped):
        make_map(mine, shown, stop_after(3))
    kept = find_map(mine, shown)
    assert kept is not None
    assert np.array_equal(kept.places, made.places)
    assert [p.name for p in (mine.embeddings / "starter" / "maps").iterdir()] == ["photos-1.npz"]


def test_a_map_is_made_by_a_run_that_waits_for_no_training_and_is_not_begun_twice(mine: Workspace) -> None:
    from orl_explorer.db.models import Run
    from orl_explorer.db.runs.runs import add_run, update_run
    from orl_explorer.train.jobs.launcher import identity

    training = add_run(mine.store, Run(kind="train", name="long", params={}))
    update_run(mine.store, training.id, status="running", **identity())
    shown = photos_map(mine, "demo", "starter")
    run = launch_map(mine, shown)
    assert launch_map(mine, shown).id == run.id
    ended = wait(mine, run.id)
    assert (ended.status, ended.kind, ended.name) == ("done", "map", "map of demo by starter")
    assert find_map(mine, shown) is not None
    assert Features(mine, shown.encoder).images.rows == 12
