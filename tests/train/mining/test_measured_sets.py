"""Quality of mined sets: measured during mining, kept with the set, and measured again for new annotations."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from orl_explorer.db.people.tags import tag_photos
from orl_explorer.db.photos import (
    AnnotatedBox,
    FoundPhoto,
    add_photos,
    annotations_of,
    count_photos,
    dataset_named,
    replace_annotations,
    usable_images,
)
from orl_explorer.db.sets import read
from orl_explorer.db.sets.whole import annotated_objects, whole_set
from orl_explorer.db.sets.write import keep_quality
from orl_explorer.train.mining import quality
from orl_explorer.train.mining.quality import VERSION, as_mined, as_objects, is_outdated, kept_measures, quality_of
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.coco_recall import cocos_recall


@pytest.fixture
def mined(mined_workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(mined_workspace.path, tmp_path / "copy")
    return open_workspace(tmp_path / "copy")


def test_mining_leaves_its_quality_with_the_set(mined: Workspace) -> None:
    stored = read.complete_set_named(mined.store, "demo-starter")
    kept = kept_measures(stored)
    revision = dataset_named(mined.store, "demo").revision
    assert stored.quality == kept | {"version": VERSION, "revision": revision}
    assert kept["annotated_objects"] == dataset_named(mined.store, "demo").annotation_count
    assert quality_of(mined, "demo-starter") == kept
    assert kept["same_class"] > kept["same_class_chance"]  # or the demo would be a poor one
    assert kept["candidate_is_object"] > kept["candidate_is_object_chance"]


def test_new_annotations_are_measured_and_a_set_without_them_says_nothing_of_objects(mined: Workspace) -> None:
    with mined.store.session() as session:
        session.execute(text("DELETE FROM annotation"))
        session.execute(text("UPDATE dataset SET annotation_count = 0, revision = revision + 1"))
    bare = quality_of(mined, "demo-starter")
    assert "same_class" not in bare
    assert bare["cycle"] == quality_of(mined, "demo-starter")["cycle"]
    with mined.store.session() as session:  # every photo is one large object
        session.execute(
            text(
                "INSERT INTO annotation (image_id, category, x, y, w, h, difficult) "
                "SELECT id, 'all', 0, 0, width, height, 0 FROM image"
            )
        )
        session.execute(text("UPDATE dataset SET annotation_count = 12, revision = revision + 1"))
    found = quality_of(mined, "demo-starter")
    assert found["same_class_or_part"] == 1.0
    assert found["same_class_or_part_chance"] == pytest.approx(1.0)


def test_corrected_annotations_are_measured_however_many_there_are(
    mined: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = quality_of(mined, "demo-starter")
    ids = [image.id for image in usable_images(mined.store, dataset_named(mined.store, "demo").id)]
    corrected = {i: tuple(replace(box, w=1.0, h=1.0) for box in annotations_of(mined.store, i)) for i in ids}
    replace_annotations(mined.store, corrected)
    found = quality_of(mined, "demo-starter")
    assert found["annotated_objects"] == before["annotated_objects"]
    assert before["candidate_is_object"] > 0.0
    assert found["candidate_is_object"] == 0.0
    tag_photos(mined.store, [1], "odd", "ann")
    monkeypatch.setattr(quality, "measure_and_keep", None)  # a mark changes no measure
    assert quality_of(mined, "demo-starter") == found


def test_measures_that_do_not_say_of_which_annotations_they_are_are_taken_again(mined: Workspace) -> None:
    found = read.complete_set_named(mined.store, "demo-starter")
    now = kept_measures(found)
    keep_quality(mined.store, found.id, {"version": VERSION} | now | {"cycle": 0.125})
    assert quality_of(mined, "demo-starter") == now


def test_annotations_of_photos_outside_a_set_say_nothing_of_its_objects(mined: Workspace) -> None:
    store, dataset = mined.store, dataset_named(mined.store, "demo")
    replace_annotations(store, {image.id: () for image in usable_images(store, dataset.id)})
    add_photos(store, dataset.id, [FoundPhoto("new.jpg", 64, 48, boxes=(AnnotatedBox("cat", 1, 2, 30, 40),))], {})
    assert count_photos(store, dataset.id).annotation_count == 1
    found = quality_of(mined, "demo-starter")
    assert found["annotated_objects"] == 0
    assert {"same_class", "corloc", "candidate_is_object"}.isdisjoint(found)


def test_a_set_that_an_earlier_version_measured_is_measured_again(mined: Workspace) -> None:
    found = read.complete_set_named(mined.store, "demo-starter")
    now = kept_measures(found)
    keep_quality(mined.store, found.id, {"cycle": 0.125, "annotated_objects": now["annotated_objects"]})
    old = read.complete_set_named(mined.store, "demo-starter")
    assert is_outdated(old) and not is_outdated(found)
    assert kept_measures(old)["cycle"] == 0.125
    assert quality_of(mined, "demo-starter") == now
    again = read.complete_set_named(mined.store, "demo-starter")
    assert kept_measures(again) == now and not is_outdated(again)


def test_the_boxes_of_a_mined_set_are_measured_as_cocos_evaluator_does(mined: Workspace) -> None:
    pytest.importorskip("faster_coco_eval")
    whole = whole_set(mined.store, read.complete_set_named(mined.store, "demo-starter").id)
    found, ids = as_mined(whole), whole.images[:, 0]
    objects = as_objects(annotated_objects(mined.store, ids.tolist()), ids)
    theirs = cocos_recall(found.start, found.boxes, objects.start, objects.boxes, objects.difficult)
    measures = quality_of(mined, "demo-starter")
    assert (measures["ar_1"], measures["ar_10"], measures["ar_100"]) == pytest.approx(theirs, abs=1e-12)
    assert measures["corloc"] > measures["corloc_chance"]


def test_what_coco_marks_is_a_crowd_and_what_voc_marks_is_a_difficult_object(mined: Workspace) -> None:
    ids = [image.id for image in read.set_images(mined.store, read.complete_set_named(mined.store, "demo-starter").id)]
    with mined.store.session() as session:
        session.execute(text("UPDATE annotation SET difficult = (id = 1)"))
    found = annotated_objects(mined.store, ids)
    assert (found.difficult.sum(), found.crowd.tolist()) == (1, found.difficult.tolist())
    with mined.store.session() as session:
        session.execute(text("UPDATE dataset SET layout = 'voc'"))
    found = annotated_objects(mined.store, ids)
    assert (found.difficult.sum(), found.crowd.sum()) == (1, 0)


def test_the_arrays_are_the_rows_of_the_store(mined: Workspace) -> None:
    set_id = read.complete_set_named(mined.store, "demo-starter").id
    whole = whole_set(mined.store, set_id)
    found, ids = as_mined(whole), whole.images[:, 0].tolist()
    stored = read.rois_of(mined.store, set_id, ids)
    for i, image in enumerate(ids):
        assert found.boxes[found.start[i] : found.start[i + 1]].tolist() == stored[image].boxes.tolist()
        near = read.neighbors_of(mined.store, set_id, image)
        assert [ids[n] for n in found.neighbors[i]] == [n.image.id for n in near]
        np.testing.assert_allclose(found.nearness[i], [n.similarity for n in near])
    pairs = [(i, p) for i, image in enumerate(ids) for p in read.pairs_of(mined.store, set_id, image)]
    assert len(pairs) == len(found.query) > 0
    for position, (image, pair) in enumerate(pairs):
        assert found.image_of[found.query[position]] == image
        assert found.image_of[found.key[position]] == found.neighbors[image, pair.neighbor_rank - 1]
        assert tuple(found.boxes[found.query[position]].tolist()) == pair.query_box
        assert tuple(found.boxes[found.key[position]].tolist()) == pair.key_box
        assert found.similarity[position] == pytest.approx(pair.similarity)
        assert (found.cycle[position] == 1) == pair.cycle
    objects = as_objects(annotated_objects(mined.store, ids), whole.images[:, 0])
    with mined.store.session() as session:
        for i, image in enumerate(ids):
            expected = session.execute(
                text("SELECT category, x FROM annotation WHERE image_id = :image ORDER BY id"), {"image": image}
            ).all()
            here = slice(objects.start[i], objects.start[i + 1])
            names = [objects.names[c] for c in objects.classes[here]]
            assert list(zip(names, objects.boxes[here, 0].tolist(), strict=True)) == [tuple(row) for row in expected]
