"""Search by example against a plain loop over all RoIs, with and without the index, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from orl_explorer.db import photos
from orl_explorer.db.encoders import VECTORS, add_encoder, encoder_by_id
from orl_explorer.db.models import CorrespondenceSet, Encoder, Run
from orl_explorer.db.photos import AnnotatedBox, FoundPhoto
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import set_by_id, set_rois
from orl_explorer.db.sets.write import CandidateRows
from orl_explorer.orl.boxes import at_least
from orl_explorer.orl.opening import UnreadableImage, open_bytes
from orl_explorer.orl.pixels import content_digest, file_digest
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining import search as searching
from orl_explorer.train.mining import search_index
from orl_explorer.train.mining.features import Features, roi_keys
from orl_explorer.train.mining.making import Making
from orl_explorer.train.mining.search import Example, Filters, box_of, feature_of, hits, search_rois
from orl_explorer.train.mining.search_index import SetIndex, drop_index, index_of_set, index_or_making, try_index_again
from orl_explorer.train.workspace import Workspace, open_workspace

PHOTOS, WIDTH, WIDE, INNER = 60, 64, 32, 6
DIGEST = 3**34
DOG, CAT = AnnotatedBox("dog", 0, 0, 10, 10), AnnotatedBox("cat", 10, 0, 10, 10)


@pytest.fixture
def mined(workspace: Workspace) -> CorrespondenceSet:
    """A set of 60 photos with 0 to 9 RoIs each, whose features are stored; in every third photo one covers a dog."""
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    seen = [
        FoundPhoto(f"{i}.jpg", WIDTH, 48, boxes=((DOG,), (), (DOG, CAT))[i % 3], digest=DIGEST * i)
        for i in range(1, PHOTOS + 1)
    ]
    photos.add_photos(store, 1, seen, {})
    photos.count_photos(store, 1)
    row = Encoder(name="e", architecture="resnet18", kind="imported", supervised=False, weights_sha256="0")
    row.weights_path, row.image_features, row.roi_features = "e.pt", WIDE, WIDE
    run = add_run(store, Run(kind="mine", name="set", params={}))
    set_id = write.begin_set(store, "set", 1, add_encoder(store, row).id, {}, run.id).id
    grid = np.array([[10 * (k % 5), 10 * (k // 5), 10, 10] for k in range(10)], np.int16)
    write.add_candidates(store, set_id, [CandidateRows(i, grid[: i % 10], 9, False) for i in range(1, PHOTOS + 1)])
    with store.session() as session:
        session.connection().exec_driver_sql(
            "UPDATE correspondence_set SET status = 'complete', image_count = 60, candidate_count = 270"
        )
    found = set_by_id(store, set_id)
    assert found is not None
    rois = set_rois(store, set_id)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(rois.ids), INNER)) @ rng.standard_normal((INNER, WIDE))
    vectors[5] = vectors[40] = vectors[41]  # equal features
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    digests = np.repeat(DIGEST * rois.images, np.diff(rois.start))
    features_of(workspace, found).rois.add([(roi_keys(digests, rois.boxes), vectors)])
    return found


def features_of(workspace: Workspace, mined: CorrespondenceSet) -> Features:
    return Features(workspace, encoder_by_id(workspace.store, mined.encoder_id))


def plainly(index: SetIndex, features: Features, vector: np.ndarray, filters: Filters, first: int) -> list[int]:
    """The rows that a search finds, by a loop."""
    found = []
    for row in range(len(index.keys)):
        cosine = float(features.rois.get(index.keys[row : row + 1])[0] @ vector)
        image = int(np.repeat(index.rois.images, np.diff(index.rois.start))[row])
        k = row - int(index.rois.start[image - 1])
        covered = {0: ("dog", None, "dog"), 1: (None, None, "cat")}.get(k, (None,) * 3)[image % 3]
        if filters.category not in (None, covered) or image == filters.without:
            continue
        if filters.least is None or np.float32(cosine) >= np.float32(filters.least):
            found.append((-round(cosine, 6), row, image))
    taken: list[int] = []
    seen: set[int] = set()
    for _, row, image in sorted(found):
        if not (filters.once and image in seen):
            taken.append(row)
        seen.add(image)
    return taken[:first]


@pytest.mark.parametrize("large", [False, True], ids=["all compared", "by an index"])
@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(least=0.4),
        Filters(without=9),
        Filters(once=True),
        Filters(category="dog"),
        Filters(category="cat", once=True, without=2, least=-0.5),
        Filters(category="horse"),
    ],
)
def test_the_best_are_those_of_a_plain_loop(
    workspace: Workspace, mined: CorrespondenceSet, filters: Filters, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "FIRST", 40)
    monkeypatch.setattr(searching, "FEW", 120)
    monkeypatch.setattr(search_index, "ALL", 0 if large else 1000)
    features = features_of(workspace, mined)
    index = index_of_set(workspace, mined, features)
    assert (index.head is not None) == large
    assert len(index.keys) == 270
    for row in (5, 100, 269):
        vector = features.rois.get(index.keys[row : row + 1])[0]
        found = search_rois(index, features, vector, filters)
        sure = 30 if large else 40  # the last of the first forty are those of the codes
        assert found.rows[:sure].tolist() == plainly(index, features, vector, filters, sure)
        assert len(found.rows) == len(plainly(index, features, vector, filters, 40))
        assert found.similarity == pytest.approx(features.rois.get(index.keys[found.rows]) @ vector, abs=1e-6)


def test_of_equal_ones_the_first_rows_come_first(workspace: Workspace, mined: CorrespondenceSet) -> None:
    features = features_of(workspace, mined)
    index = index_of_set(workspace, mined, features)
    found = search_rois(index, features, features.rois.get(index.keys[40:41])[0], Filters())
    assert found.rows[:3].tolist() == [5, 40, 41]
    first = hits(workspace, index, found, 0, 2)
    assert [(hit.image.path, hit.box, hit.category) for hit in first] == [
        ("3.jpg", (20, 0, 10, 10), None),
        ("9.jpg", (40, 0, 10, 10), None),
    ]
    [second] = hits(workspace, index, found, 1, 1)
    assert (second.image.id, second.roi_id, second.similarity) == (9, 41, first[1].similarity)


def test_the_index_is_made_once_and_anew_for_other_annotations(
    workspace: Workspace, mined: CorrespondenceSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "ALL", 0)
    features = features_of(workspace, mined)
    told: list[tuple[int, int]] = []
    index = index_of_set(workspace, mined, features, lambda *done: told.append(done))
    assert told == [(270, 270)]
    assert (index.head is not None and index.head.dtype == np.int8, index.names) == (True, ("cat", "dog"))
    assert index_or_making(workspace, mined, features, 0) is index
    photos.replace_annotations(workspace.store, {1: (AnnotatedBox("bird", 0, 0, 10, 10),)})
    photos.count_photos(workspace.store, 1)
    with workspace.store.session() as session:
        session.connection().exec_driver_sql("UPDATE dataset SET revision = revision + 1")
    again = index_or_making(workspace, mined, features, 60)
    assert isinstance(again, SetIndex)
    assert again.names == ("bird", "cat", "dog")
    assert again.category[0] == 0
    drop_index(workspace, mined.id)
    assert not (workspace.search / str(mined.id)).exists()
    shown = open_workspace(workspace.path, read_only=True)
    elsewhere = index_or_making(shown, mined, features, 60)
    assert isinstance(elsewhere, SetIndex)
    assert not workspace.search.exists() or not [*workspace.search.iterdir()]


def test_features_that_were_deleted_are_a_sentence(
    workspace: Workspace, mined: CorrespondenceSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = features_of(workspace, mined)
    vector = features.rois.get(index_of_set(workspace, mined, features).keys[:1])[0]
    shutil.rmtree(workspace.embeddings)
    without = features_of(workspace, mined)
    sentence = "270 of 270 RoIs of the set have no stored feature any more. `orl embed --rois` computes them again with"
    with pytest.raises(UserError, match=sentence):
        search_rois(index_of_set(workspace, mined, without), without, vector, Filters())
    monkeypatch.setattr(search_index, "ALL", 0)
    failed = index_or_making(workspace, mined, without, 60)
    assert isinstance(failed, Making)
    assert failed.error is not None
    assert failed.error.startswith(sentence)
    assert index_or_making(workspace, mined, without, 60) is failed  # until somebody asks for another attempt
    try_index_again(workspace, mined)
    assert index_or_making(workspace, mined, without, 60) is not failed


@pytest.mark.parametrize(
    ("box", "grown"),
    [
        ((10, 10, 40, 50), (10, 10, 40, 50)),
        ((10, 10, 4, 50), (0, 10, 32, 50)),
        ((40, 50, 2, 2), (25, 35, 32, 32)),
        ((98, 0, 2, 3), (68, 0, 32, 32)),
        ((0, 0, 100, 20), (0, 0, 100, 32)),
    ],
)
def test_a_small_box_grows_to_a_cell_inside_the_photo(
    box: tuple[int, int, int, int], grown: tuple[int, int, int, int]
) -> None:
    assert at_least(box, 32, 100, 80) == grown


def test_a_photo_smaller_than_a_cell_is_taken_whole() -> None:
    assert at_least((3, 4, 2, 2), 32, 10, 50) == (0, 0, 10, 32)


def test_a_box_is_the_whole_photo_by_default_and_inside_it(workspace: Workspace, mined: CorrespondenceSet) -> None:
    features = features_of(workspace, mined)
    assert box_of(None, (100, 80), features) == (0, 0, 100, 80)
    assert box_of((40, 50, 2, 2), (100, 80), features) == (25, 35, 32, 32)
    for box in ((-1, 0, 9, 9), (0, 0, 0, 9), (60, 0, 41, 9), (0, 72, 9, 9)):
        with pytest.raises(UserError, match=r"is not inside the photo of 100 × 80 pixels\."):
            box_of(box, (100, 80), features)
    with pytest.raises(UserError, match=r"A box has four numbers, x, y, w and h, not 3\."):
        box_of((1, 2, 3), (100, 80), features)
    with pytest.raises(UserError, match=r"a side is longer than 32767\."):
        box_of(None, (40_000, 80), features)


def test_a_roi_needs_no_network_and_a_new_box_of_vectors_is_refused(
    workspace: Workspace, mined: CorrespondenceSet
) -> None:
    features, encoder = features_of(workspace, mined), encoder_by_id(workspace.store, mined.encoder_id)
    encoder.kind = VECTORS
    index = index_of_set(workspace, mined, features)
    known = Example("9.jpg", 9 * DIGEST, (40, 0, 10, 10), lambda: pytest.fail("the photo was read"))
    assert np.array_equal(feature_of(features, encoder, known), features.rois.get(index.keys[40:41])[0])
    with pytest.raises(UserError, match="'e' is imported vectors without a network, so a new box has no vector"):
        feature_of(features, encoder, Example("9.jpg", 9 * DIGEST, (41, 0, 10, 10), known.read))


def test_content_has_the_digest_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    Picture.new("RGB", (30, 20), "red").save(file)
    assert content_digest(file.read_bytes()) == file_digest(file)
    with open_bytes(file.read_bytes()) as photo:
        assert (photo.width, photo.height, photo.rgb().getpixel((3, 3))) == (30, 20, (255, 0, 0))
    with pytest.raises(UnreadableImage, match="not an image that Pillow can identify"), open_bytes(b"text"):
        pass
