"""Near-duplicates of a dataset: found in stored features, kept by size, skipped as neighbours, said with the set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Image
from orl_explorer.db.photos import annotations_of, dataset_named, usable_images
from orl_explorer.db.sets import read
from orl_explorer.db.sets.whole import whole_set
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.duplicates import find_duplicates, grouped, ranked, standing_for, why_kept
from orl_explorer.train.mining.sweep import sweep
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.conftest import MINED, NewRun
from tests.named import check, mine
from tests.train.conftest import StopAfter

pytestmark = pytest.mark.usefixtures("remembered")

ALIKE = 0.65  # of scenes of the demo, which are different pictures: 2, 7 and 10, and 6 and 12
SKIPPING = MINED.model_copy(update={"neighbors": 2, "skip_duplicates": True, "duplicate_similarity": ALIKE})


@pytest.fixture
def mined(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(mined_workspace.path, tmp_path / "copy")
    return open_workspace(tmp_path / "copy")


def photo(number: int, path: str, width: int, height: int) -> Image:
    return Image(id=number, path=path, width=width, height=height)


def test_the_largest_photo_is_kept_then_the_most_annotated_then_the_first_by_name() -> None:
    images = [
        photo(1, "b.jpg", 40, 30),
        photo(2, "c.jpg", 80, 60),
        photo(3, "a.jpg", 60, 80),
        photo(4, "d.jpg", 60, 80),
    ]
    assert ranked(images) == [2, 1, 3, 0]
    assert ranked(images, {2: 1, 4: 2, 1: 9}) == [3, 1, 2, 0]
    assert why_kept([images[1], images[0]], {}) == "largest"
    assert why_kept([images[3], images[1]], {4: 2, 2: 1}) == "most annotated objects of the largest"
    assert why_kept([images[2], images[1]], {}) == "first by name of those that are alike"
    assert standing_for(images, np.array([0, 0, 2, 0])).tolist() == [1, 1, 2, 1]


def test_groups_of_several_photos_are_listed_largest_first() -> None:
    assert [rows.tolist() for rows in grouped(np.array([0, 1, 0, 3, 1, 1]))] == [[1, 4, 5], [0, 2]]
    assert grouped(np.arange(3)) == []
    assert grouped(np.empty(0, np.int64)) == []


def test_near_duplicates_are_found_in_stored_features(mined: Workspace) -> None:
    dataset, encoder = dataset_named(mined.store, "demo"), encoder_named(mined.store, "starter")
    found = find_duplicates(mined, dataset, encoder, ALIKE)
    assert [sorted(image.id for image in group.photos) for group in found] == [[2, 7, 10], [6, 12]]
    for group in found:
        assert group.similarity[0] == pytest.approx(1.0, abs=1e-5)
        assert max(group.similarity[1:]) <= 1.0
        objects = {image.id: count for image, count in zip(group.photos, group.objects, strict=True)}
        assert ranked(group.photos, objects) == list(range(len(group.photos)))
        assert all(count == len(annotations_of(mined.store, image)) for image, count in objects.items())
    assert find_duplicates(mined, dataset, encoder, 1.0) == []
    shutil.rmtree(mined.embeddings)
    with pytest.raises(UserError, match="Not all of the 12 photos of 'demo' have features of 'starter'"):
        find_duplicates(open_workspace(mined.path), dataset, encoder)


def test_a_set_can_skip_near_duplicates(mined: Workspace, new_run: NewRun) -> None:
    heard = StopAfter()
    made = mine(
        mined,
        "demo",
        "starter",
        "skipping",
        SKIPPING,
        run_id=new_run(mined, "mine", "skipping"),
        workers=1,
        progress=heard,
    )
    dataset, encoder = dataset_named(mined.store, "demo"), encoder_named(mined.store, "starter")
    groups = find_duplicates(mined, dataset, encoder, ALIKE)
    kept = [group.photos[ranked(group.photos)[0]].id for group in groups]  # without a look at annotations
    stand = {image.id: its for group, its in zip(groups, kept, strict=True) for image in group.photos}
    skipped = stand.keys() - kept
    assert made.summary is not None and made.summary["duplicates"] == {"groups": 2, "photos": 3}
    assert made.summary["raw"] > 0
    assert any(line.startswith("Near-duplicates: 2 groups of photos") for line in heard.lines)
    neighbors = whole_set(mined.store, made.id).neighbors
    assert len(neighbors) == 12 * 2  # every photo is a query
    for image, neighbor in neighbors.tolist():
        assert neighbor not in skipped
        assert stand.get(image) != neighbor
    again = sorted(i.id for i in read.set_images(mined.store, made.id))
    assert again == sorted(i.id for i in usable_images(mined.store, dataset.id))


def test_what_does_not_fit_near_duplicates_is_refused(mined: Workspace, new_run: NewRun) -> None:
    with pytest.raises(UserError, match="Use neighbor_search=exact to skip them"):
        check(mined, "demo", "starter", "x", SKIPPING.model_copy(update={"neighbor_search": "cells"}))
    all_alike = SKIPPING.model_copy(update={"duplicate_similarity": 0.01})
    with pytest.raises(UserError, match="Photos left without near-duplicates: 1, too few for K = 2"):
        mine(mined, "demo", "starter", "x", all_alike, run_id=new_run(mined, "mine", "x"), workers=1)
    with pytest.raises(UserError, match="A sweep draws neighbours among all photos"):
        sweep(mined, "demo", "starter", {"skip_duplicates": ["yes"]}, base=MineConfig(proposal_scale=0.5), sample=1)
