"""The Pair page of a photo that the set does not hold: what mining would find for it, and nothing that is stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from orl_explorer.app.explorer.pair import Asked, Looked, MissingWork, look
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.pages.pair import settings
from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.gallery.order import GalleryOrder
from orl_explorer.db.lost import set_root
from orl_explorer.db.models import Image
from orl_explorer.db.photos import dataset_named, image_by_id, usable_images
from orl_explorer.db.proposals import add_proposals, missing_proposals, proposals_of
from orl_explorer.db.sets.read import complete_set_named, holds, neighbors_of, pairs_of
from orl_explorer.train.demo.scenes import compose_scene
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.embeddings import Embeddings
from orl_explorer.train.workspace import Workspace
from tests.app.conftest import Show
from tests.app.seen import component, plain
from tests.conftest import MINED, NewRun
from tests.named import mine

ADDED = 13  # id of the photo that is added when the sets are mined
CLOSE = 2e-3  # between processors, of a cosine

Add = Callable[[], Path]


@pytest.fixture
def add(here: Workspace, scenes: Path, tmp_path: Path) -> Add:
    """Return a function that adds a photo, with annotated objects, to the demo and returns its file."""
    folder = tmp_path / "scenes"
    shutil.copytree(scenes, folder)
    set_root(here.store, 1, str(folder))

    def added() -> Path:
        scene, file = compose_scene(2021, 12), folder / "images" / "scene-012.jpg"
        Picture.fromarray(scene.image).save(file, quality=92)
        height, width = scene.image.shape[:2]
        listed = folder / "annotations" / "scenes.json"
        content = json.loads(listed.read_text())
        content["images"].append({"id": ADDED, "file_name": file.name, "width": width, "height": height})
        content["annotations"] += [
            {"image_id": ADDED, "category_id": 1, "iscrowd": 0, "bbox": [item.x, item.y, item.w, item.h]}
            for item in scene.objects
        ]
        listed.write_text(json.dumps(content))
        assert ingest(here, folder, name="demo").dataset.image_count == 13
        return file

    return added


def subject_of(here: Workspace, mined: str = "demo-starter") -> PreviewSubject:
    store = here.store
    return PreviewSubject(
        here, complete_set_named(store, mined), dataset_named(store, "demo"), encoder_named(store, "starter")
    )


def photo(here: Workspace) -> Image:
    found = image_by_id(here.store, ADDED)
    assert found is not None
    return found[0]


def looked_at(subject: PreviewSubject, config: MineConfig = MINED, **more: object) -> Looked:
    order = GalleryOrder(subject.dataset.id, subject.mined.id)
    found = look(subject, Asked(photo(subject.workspace), config, order, "ann", **more))  # type: ignore[arg-type]
    assert found is not None
    return found


def found_pairs(looked: Looked) -> list[tuple]:
    """Boxes of the query and of the neighbour, and similarity, of each pair, best first."""
    return [(looked.query.boxes[p.q], looked.neighbor.boxes[p.k], p.similarity) for p in looked.pairs]


def mined_pairs(here: Workspace, mined: str, rank: int) -> list[tuple]:
    rows = pairs_of(here.store, complete_set_named(here.store, mined).id, ADDED)
    return [(row.query_box, row.key_box, row.similarity) for row in rows if row.neighbor_rank == rank]


def equal(one: list[tuple], other: list[tuple]) -> bool:
    return [pair[:2] for pair in one] == [pair[:2] for pair in other] and [pair[2] for pair in one] == pytest.approx(
        [pair[2] for pair in other], abs=1e-5
    )


@pytest.mark.parametrize(
    "config",
    [
        MINED,
        MINED.model_copy(update={"ranked_by": "objectness", "object_weight": 0.7, "max_rois": 8, "pair_ratio": 0.6}),
        MINED.model_copy(
            update={"proposals": "search+map", "min_size": 60, "min_similarity": 0.3, "sparse_weight": 0.5}
        ),
        MINED.model_copy(update={"proposals": "annotations", "min_size": 20, "pair_ratio": 0.8}),
    ],
    ids=["the set's settings", "objectness", "other thresholds and boxes on maps", "annotations"],
)
def test_it_finds_what_a_set_with_the_photo_has(here: Workspace, add: Add, new_run: NewRun, config: MineConfig) -> None:
    known = "demo-starter"
    if config.proposals != "search":
        known = "known"
        mine(here, "demo", "starter", known, config, run_id=new_run(here, "mine", known), workers=1)
    add()
    subject = subject_of(here, known)
    views = [looked_at(subject, config, rank=rank) for rank in (1, 2, 3, 4)]
    mined = mine(here, "demo", "starter", "all", config, run_id=new_run(here, "mine", "all"), workers=1)
    assert mined.image_count == 13
    near = neighbors_of(here.store, mined.id, ADDED)
    for looked in views:
        assert not looked.held
        assert [n.photo.id for n in looked.neighbors] == [n.image.id for n in near]
        assert [n.similarity for n in looked.neighbors] == pytest.approx([n.similarity for n in near], abs=1e-5)
        stored = mined_pairs(here, "all", looked.rank)
        assert equal(found_pairs(looked), stored)
    assert any(looked.pairs for looked in views)
    assert looked_at(subject_of(here, "all"), config).held


def test_a_new_photo_its_neighbours_and_the_pairs_with_the_nearest(here: Workspace, add: Add) -> None:
    add()
    looked = looked_at(subject_of(here))
    assert (looked.held, looked.query.photo.path) == (False, "images/scene-012.jpg")
    assert looked.query.counts == {"raw": 450, "kept": 18, "size": 264, "aspect": 3, "overlap": 165, "count": 0}
    assert looked.query.boxes[:2] == ((0, 156, 480, 204), (166, 178, 138, 150))
    assert [(n.rank, n.photo.id, n.pairs) for n in looked.neighbors] == [(1, 8, 1), (2, 9, 1), (3, 6, 1), (4, 12, 1)]
    assert [n.similarity for n in looked.neighbors] == pytest.approx([0.6986, 0.6945, 0.6361, 0.6105], abs=CLOSE)
    assert looked.neighbor.boxes[:2] == ((82, 166, 150, 122), (352, 218, 128, 106))
    assert [(p.rank, p.q, p.k, p.verdict) for p in looked.pairs] == [(1, 1, 8, None)]
    assert looked.pairs[0].similarity == pytest.approx(0.7796, abs=CLOSE)
    assert looked.similar.shape == (18, 24)
    assert looked.following is None


def test_the_work_is_told_done_once_and_stored_nowhere(here: Workspace, add: Add) -> None:
    add()
    subject, told = subject_of(here), list[MissingWork]()

    def meanwhile(missing: MissingWork) -> nullcontext:
        told.append(missing)
        return nullcontext()

    def stored() -> list[object]:
        parts = [Embeddings(here.embeddings / "starter", kind, 1280, sha) for kind in ("images", "rois")]  # type: ignore[arg-type]
        return [part.rows for part in parts]

    sha = subject.encoder.weights_sha256
    before = stored()
    config = MINED.model_copy(update={"ranked_by": "objectness"})
    asked = Asked(photo(here), config, GalleryOrder(1, subject.mined.id), "ann")
    first = look(subject, asked, meanwhile)
    assert first is not None
    assert told == [MissingWork(photos=1), MissingWork(searches=1, maps=2), MissingWork(boxes=first.missing.boxes)]
    assert first.missing.boxes > 20
    again = look(subject, asked)
    assert again is not None
    assert again.missing == MissingWork()
    assert found_pairs(again) == found_pairs(first)
    assert stored() == before
    assert missing_proposals(here.store, [ADDED], MINED.method) == [ADDED]
    assert not holds(here.store, subject.mined.id, ADDED)


def test_more_neighbours_than_the_set_has_photos_are_all_of_them(here: Workspace, add: Add) -> None:
    add()
    looked = looked_at(subject_of(here), MINED.model_copy(update={"neighbors": 30}))
    assert sorted(n.photo.id for n in looked.neighbors) == list(range(1, 13))


def test_approximate_regions_have_no_pairs_of_the_set_to_agree_with(here: Workspace, add: Add, show: Show) -> None:
    add()
    at = show("pair", q="13", approx="true")
    assert not at.exception
    assert "cut from a feature map of the photo (RoIAlign)." in plain(at)
    assert "of the set's" not in plain(at).split("RoIAlign")[1]
    assert component(at)["caption"][2].endswith(", approximate regions.")


def test_a_photo_without_the_sets_imported_proposals_is_a_sentence(
    here: Workspace, add: Add, new_run: NewRun, show: Show
) -> None:
    config = MINED.model_copy(update={"proposals": "mine"})
    some = proposals_of(here.store, list(range(1, 13)), MINED.method)
    add_proposals(here.store, config.method, {image: boxes[:200] for image, boxes in some.items()})
    mine(here, "demo", "starter", "imported", config, run_id=new_run(here, "mine", "imported"), workers=1)
    add()
    at = show("pair", q="13", set="imported")
    assert not at.exception
    assert [error.value.replace("\\", "") for error in at.error] == [
        "images/scene-012.jpg has no proposals 'mine', the raw boxes of this set. Import them for all photos of the "
        "dataset with `orl import proposals`."
    ]


def test_a_photo_that_vanished_is_a_sentence(here: Workspace, add: Add) -> None:
    file = add()
    file.unlink()
    with pytest.raises(UserError, match=r"Cannot read .*scene-012\.jpg: "):
        looked_at(subject_of(here))


def test_the_page_says_that_the_set_does_not_hold_the_photo(
    here: Workspace, add: Add, new_run: NewRun, show: Show
) -> None:
    add()
    at = show("pair", q="13", nn="2")
    assert not at.exception
    assert [info.value.replace("\\", "") for info in at.info] == [
        "The set **demo-starter** does not hold this photo: this is what mining would find for it among the photos of "
        "the set."
    ]
    sent = component(at)
    assert sent["caption"][1].startswith("Query images/scene-012.jpg (not in the set); neighbour 2 of 4, images/scene-")
    assert not sent["can_judge"]
    mine(here, "demo", "starter", "all", MINED, run_id=new_run(here, "mine", "all"), workers=1)
    held = show("pair", q="13", nn="2", set="all")
    assert not held.info
    assert component(held)["pairs"] == sent["pairs"]
    assert component(held)["can_judge"]


def test_the_cost_of_mining_again_counts_the_search_of_photos_outside_the_set(here: Workspace, add: Add) -> None:
    before = subject_of(here)
    [held] = [image for image in usable_images(here.store, before.dataset.id) if image.id == 3]
    assert settings._cost(before, held, MINED) == (
        "No selective search. No new boxes on this photo. Matching takes milliseconds per photo."
    )
    add()
    subject = subject_of(here)
    assert settings._cost(subject, photo(here), MINED) == (
        "Selective search on 1 photo. New boxes: 18 on this photo, which the set does not hold."
    )
    assert settings._cost(subject, held, MINED.model_copy(update={"min_size": 60})) == (
        "Selective search on 1 photo. New boxes: 48 on this photo, so about 624 forward passes in total."
    )


def test_the_gallery_and_the_next_photo_lead_to_it(here: Workspace, add: Add, show: Show) -> None:
    add()
    [tile] = component(show("explore", find="scene-012"))["tiles"]
    assert (tile["id"], tile["badges"]) == (ADDED, [])
    [following] = component(show("pair", q="12"))["prefetch"]
    assert "/photo/13/" in following


def test_boxes_of_a_photo_are_searched_as_mining_does(here: Workspace, add: Add, new_run: NewRun) -> None:
    add()
    looked = looked_at(subject_of(here))
    mine(here, "demo", "starter", "all", MINED, run_id=new_run(here, "mine", "all"), workers=1)
    raw = proposals_of(here.store, [ADDED], MINED.method)[ADDED]
    assert looked.query.counts["raw"] == len(raw)
    assert np.array_equal([box.box for box in looked.query.rejected], raw[[box.raw for box in looked.query.rejected]])
