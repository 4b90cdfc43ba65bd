"""Real photos in the layouts COCO and VOC."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.sets import read
from orl_explorer.train.encoders import weights
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace
from tests.named import mine
from tests.train import plainly

pytestmark = [pytest.mark.photos, pytest.mark.slow]


@pytest.mark.parametrize(
    ("folder", "layout", "images", "objects"),
    [("VOCdevkit/VOC2007", "voc", 915, 2837), ("coco", "coco", 219, 1834)],
)
def test_real_photos_are_read_with_all_their_objects(
    workspace: Workspace, photos: Path, folder: str, layout: str, images: int, objects: int
) -> None:
    found = ingest(workspace, photos / folder)
    assert found.dataset.layout == layout
    assert (found.dataset.image_count, found.dataset.unreadable_count) == (images, 0)
    assert found.dataset.annotation_count == objects
    assert found.new == images


def test_sixteen_real_photos_two_of_them_twice_are_mined_as_the_method_says(
    workspace: Workspace, photos: Path, tmp_path: Path, new_run: Callable
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    chosen = sorted((photos / "VOCdevkit" / "VOC2007" / "JPEGImages").glob("*.jpg"))[::60][:14]
    for path in chosen:
        shutil.copy(path, folder)
    for path in chosen[:2]:
        shutil.copy(path, folder / f"twin-{path.name}")
    ingest(workspace, folder, name="demo")
    weights.add(workspace, "starter", "starter")
    # The paper's thresholds; selective search at half size is what keeps this short of minutes.
    config = MineConfig(proposal_scale=0.5)
    run = new_run(workspace, "mine", "set")
    set_id = mine(workspace, "demo", "starter", "set", config, run_id=run, workers=2).id
    assert len(plainly.assert_stored(workspace, set_id, config)) == 16

    by_path = {i.path: i.id for i in usable_images(workspace.store, dataset_named(workspace.store, "demo").id)}
    for path in chosen[:2]:
        one, other = by_path[path.name], by_path[f"twin-{path.name}"]
        for query, twin in ((one, other), (other, one)):
            nearest = read.neighbors_of(workspace.store, set_id, query)[0]
            assert nearest.image.id == twin
            assert nearest.similarity == pytest.approx(1, abs=1e-6)
