"""Photos that people keep out of mining: left out with a count and a reason, until they are let in again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.people.kept_out import KEPT_OUT, keep_out, let_in
from orl_explorer.db.photos import FoundPhoto, add_photos, dataset_named
from orl_explorer.db.runs.runs import runs
from orl_explorer.db.sets import read
from orl_explorer.db.sets.whole import whole_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.mining.duplicates import find_duplicates
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.sample import draw_sample
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import MINED, NewRun
from tests.named import mine
from tests.train.conftest import StopAfter

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture
def mined(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(mined_workspace.path, tmp_path / "copy")
    return open_workspace(tmp_path / "copy")


def test_mining_leaves_out_what_is_kept_out_and_says_so(mined: Workspace, new_run: NewRun) -> None:
    keep_out(mined.store, [3, 8], "ann")
    heard = StopAfter()
    config = MINED.model_copy(update={"neighbors": 2})
    run = new_run(mined, "mine", "fewer")
    made = mine(mined, "demo", "starter", "fewer", config, run_id=run, workers=1, progress=heard)
    said = f"Kept out of mining: 2 photos that people tagged '{KEPT_OUT}': images/scene-002.jpg, images/scene-007.jpg."
    assert said in heard.lines
    assert "Left out of the set: 2 kept out." in heard.lines
    assert made.summary is not None and made.summary["left_out"] == {"kept out": 2}
    assert made.image_count == 10
    whole = {image.id for image in read.set_images(mined.store, made.id)}
    assert whole == {1, 2, 4, 5, 6, 7, 9, 10, 11, 12}
    assert not {3, 8} & {*np.unique(whole_set(mined.store, made.id).neighbors).tolist()}
    let_in(mined.store, [3, 8])
    again = mine(mined, "demo", "starter", "all", config, run_id=new_run(mined, "mine", "all"), workers=1)
    assert again.image_count == 12
    assert "left_out" not in (again.summary or {})


def test_too_few_photos_that_are_not_kept_out_are_refused(mined: Workspace, new_run: NewRun) -> None:
    keep_out(mined.store, list(range(1, 11)), "ann")
    said = "^Only 2 photos of 'demo' can be read and are not kept out of mining, too few for K = 2.$"
    with pytest.raises(UserError, match=said):
        config = MINED.model_copy(update={"neighbors": 2})
        mine(mined, "demo", "starter", "few", config, run_id=new_run(mined, "mine", "few"), workers=1)


def test_a_run_is_not_the_same_once_other_photos_are_kept_out(mined: Workspace) -> None:
    ids = {"dataset_id": 1, "encoder_id": encoder_named(mined.store, "starter").id}
    job = Mine(name="demo-starter", config=MINED, **ids)
    run = next(r for r in runs(mined.store) if r.kind == "mine")
    assert job.saw(mined)(run)
    keep_out(mined.store, [3], "ann")
    assert not job.saw(mined)(run)


def test_photos_that_are_kept_out_need_no_features_for_duplicates_and_sweeps(mined: Workspace) -> None:
    """They are neither embedded nor mined, so that mining again would not help."""
    store, encoder = mined.store, encoder_named(mined.store, "starter")
    dataset = dataset_named(store, "demo")
    whole = find_duplicates(mined, dataset, encoder, 0.9)
    add_photos(store, dataset.id, [FoundPhoto("images/new.jpg", 64, 48, digest=77)], {})  # gets the id 13
    with pytest.raises(UserError, match="Mine the dataset with this encoder once"):
        find_duplicates(mined, dataset, encoder, 0.9)
    with pytest.raises(UserError, match="1 of the 13 photos of 'demo' have no features of this encoder"):
        draw_sample(mined, "demo", Features(mined, encoder), 4, 50, 0)
    keep_out(store, [13, 2], "ann")
    assert find_duplicates(mined, dataset, encoder, 0.9) == whole  # of photo 2 there are features
    drawn = draw_sample(mined, "demo", Features(mined, encoder), 4, 50, 0)
    assert drawn.queries.tolist() == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert not {2, 13} & {*drawn.neighbors.ravel().tolist()}
    with pytest.raises(UserError, match="^K = 11 neighbours need at least 12 photos. 'demo' has 11, besides 2 that"):
        draw_sample(mined, "demo", Features(mined, encoder), 11, 50, 0)
