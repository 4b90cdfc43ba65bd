"""Annotated boxes instead of selective search (Table 5d), only on request."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from sqlalchemy import text

from orl_explorer.db.photos import AnnotatedBox, annotations_of, count_photos, replace_annotations, usable_images
from orl_explorer.db.sets import read
from orl_explorer.train.encoders import weights
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.candidates import raw_boxes
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.sweep import sweep
from orl_explorer.train.workspace import Workspace
from tests.conftest import NewRun
from tests.named import check, mine

pytestmark = pytest.mark.usefixtures("remembered")

CONFIG = MineConfig(neighbors=3, min_size=16, max_iou=1, max_rois=4, proposals="annotations")


@pytest.fixture
def annotated(workspace: Workspace, scenes: Path) -> Workspace:
    ingest(workspace, scenes, name="demo")
    weights.add(workspace, "starter", "starter")
    return workspace


def slow_raw(boxes: list[AnnotatedBox], width: int, height: int) -> list[list[int]]:
    found = []
    for box in boxes:
        left, top = max(0, math.floor(box.x)), max(0, math.floor(box.y))
        right, bottom = min(width, math.ceil(box.x + box.w)), min(height, math.ceil(box.y + box.h))
        if not box.difficult and right > left and bottom > top:
            found.append([left, top, right - left, bottom - top])
    return found


def test_annotated_boxes_become_candidates_and_are_never_kept(annotated: Workspace, new_run: NewRun) -> None:
    images = list(usable_images(annotated.store, 1))
    odd = [
        AnnotatedBox("cat", -3.5, 2.25, 90.5, 80),
        AnnotatedBox("cat", 5, 5, 60, 60, difficult=True),
        AnnotatedBox("dog", 1e4, 0, 50, 50),
    ]
    replace_annotations(annotated.store, {images[0].id: tuple(odd), images[1].id: ()})
    run = new_run(annotated, "mine", "truth")
    mined = mine(annotated, "demo", "starter", "truth", CONFIG, run_id=run, workers=1)
    rois = read.rois_of(annotated.store, mined.id, [image.id for image in images])
    for image in images:
        raw = slow_raw(annotations_of(annotated.store, image.id), image.width, image.height)
        large = [box for box in raw if min(box[2:]) >= 16 and max(box[2:]) <= 3 * min(box[2:])][:4]
        whole = [[0, 0, image.width, image.height]]
        assert rois[image.id].boxes.tolist() == (large or raw[:1] or whole)
    assert rois[images[0].id].boxes.tolist() == [[0, 2, 87, 81]]
    with annotated.store.session() as session:
        assert session.execute(text("SELECT count(*) FROM proposal")).scalar_one() == 0


def test_corrected_annotations_are_seen_at_once(annotated: Workspace) -> None:
    image = next(usable_images(annotated.store, 1))
    replace_annotations(annotated.store, {image.id: (AnnotatedBox("cat", 10, 20, 30, 40),)})
    assert raw_boxes(annotated.store, [image], CONFIG)[image.id].tolist() == [[10, 20, 30, 40]]
    replace_annotations(annotated.store, {image.id: (AnnotatedBox("cat", 11, 20, 30, 40),)})
    assert raw_boxes(annotated.store, [image], CONFIG)[image.id].tolist() == [[11, 20, 30, 40]]


def test_photos_without_annotations_are_refused(annotated: Workspace) -> None:
    replace_annotations(annotated.store, {image.id: () for image in usable_images(annotated.store, 1)})
    count_photos(annotated.store, 1)
    with pytest.raises(UserError, match="The photos of 'demo' have no annotations. Ingest them with annotations."):
        check(annotated, "demo", "starter", "truth", CONFIG)


def test_a_sweep_knows_annotated_boxes(annotated: Workspace, new_run: NewRun) -> None:
    mine(annotated, "demo", "starter", "truth", CONFIG, run_id=new_run(annotated, "mine", "truth"), workers=1)
    base = CONFIG.model_copy(update={"proposals": "search"})
    both = sweep(annotated, "demo", "starter", {"proposals": ["annotations", "search"]}, base=base, sample=3)
    assert both[0].measures != both[1].measures  # the search ran for this
    [cell] = sweep(annotated, "demo", "starter", {"proposals": ["annotations"]}, base=base, sample=3)
    assert cell.settings == {"proposals": "annotations"}
