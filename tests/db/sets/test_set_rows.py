"""Rows of proposals, RoIs and correspondence sets, and of encoders, datasets and verdicts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import event, text

from orl_explorer.db.encoders import add_encoder, encoder_by_id, encoder_named, encoders
from orl_explorer.db.models import CorrespondenceSet, Encoder, Run
from orl_explorer.db.people import verdicts
from orl_explorer.db.photos import (
    AnnotatedBox,
    FoundPhoto,
    add_photos,
    count_photos,
    dataset_by_id,
    dataset_named,
    ensure_dataset,
    known_files,
    usable_images,
)
from orl_explorer.db.proposals import add_proposals, keep_proposals, missing_proposals, proposals_of
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import read as rows
from orl_explorer.db.sets import write as mining
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.workspace import Workspace

A, B, C = [10, 20, 30, 40], [50, 60, 70, 80], [1, 2, 3, 4]


def new_encoder(name: str = "e", sha: str = "0" * 64) -> Encoder:
    row = Encoder(name=name, architecture="resnet18", kind="imported", supervised=False, weights_sha256=sha)
    row.weights_path, row.image_features, row.roi_features = "e.pt", 4, 4
    return row


@pytest.fixture
def store(workspace: Workspace) -> Store:
    """Three photos with ids 1, 2 and 3, an encoder and a run."""
    dataset = ensure_dataset(workspace.store, "trip", "/photos", "folder")
    add_photos(workspace.store, dataset.id, [FoundPhoto(f"{n}.jpg", 640, 480) for n in "abc"], {})
    add_encoder(workspace.store, new_encoder())
    add_run(workspace.store, Run(kind="mine", name="set", params={}))
    return workspace.store


def boxes(*listed: list[int]) -> np.ndarray:
    return np.array(listed, np.int16).reshape(-1, 4)


def begin(store: Store, name: str = "set", run: int = 1) -> CorrespondenceSet:
    return mining.begin_set(store, name, 1, 1, {"neighbors": 1}, run)


def write(store: Store, set_id: int) -> None:
    """Photo 1 (RoIs A, B) has pairs with photo 2 (C). Photos 2 and 3 have only a fall-back box and no pair."""
    mining.add_candidates(store, set_id, [CandidateRows(1, boxes(A, B), 7, False)])
    mining.add_candidates(store, set_id, [CandidateRows(2, boxes(C), 5, True), CandidateRows(3, boxes(C), 0, True)])
    mining.add_neighbors(
        store, set_id, np.array([1, 2, 3]), np.array([[2], [3], [1]]), np.array([[0.5], [0.25], [-0.5]], np.float32)
    )
    rois = rows.rois_of(store, set_id, [1, 2])
    cosine, margin = np.array([0.875, 0.125], np.float32), np.array([0.25, np.nan], np.float32)
    found = MinedPairs(1, rois[1].ids[[1, 0]], rois[2].ids[[0, 0]], cosine, margin, np.array([True, False]))
    mining.add_pairs(store, set_id, [MinedImage(1, (found,)), MinedImage(2, ()), MinedImage(3, ())])


def test_raw_boxes_are_kept_as_little_endian_int16_in_rank_order(store: Store) -> None:
    add_proposals(store, "m", {1: np.array([[1, 2, 258, 480], [0, 0, 3, 32767]], np.int64)})
    with store.session() as session:
        blob = session.scalar(text("SELECT boxes FROM proposal WHERE image_id = 1 AND method = 'm'"))
    assert blob == bytes([1, 0, 2, 0, 2, 1, 224, 1, 0, 0, 0, 0, 3, 0, 255, 127])
    assert proposals_of(store, [1, 2], "m")[1].tolist() == [[1, 2, 258, 480], [0, 0, 3, 32767]]


def test_an_image_without_any_raw_box_is_not_searched_again(store: Store) -> None:
    add_proposals(store, "m", {2: boxes()})
    assert proposals_of(store, [2], "m")[2].shape == (0, 4)
    assert missing_proposals(store, [3, 2, 1], "m") == [3, 1]
    assert missing_proposals(store, [2], "another method") == [2]


def test_two_runs_that_searched_the_same_images_keep_the_boxes_of_the_first(store: Store) -> None:
    """Both look for what is missing before either has stored its boxes."""

    def slowly(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO proposal"):
            time.sleep(0.3)

    event.listen(store.engine, "before_cursor_execute", slowly)
    started = threading.Barrier(2)

    def run(box: list[int]) -> list[int]:
        started.wait()
        return keep_proposals(store, "m", {2: boxes(box), 3: boxes(box)})

    with ThreadPoolExecutor(2) as pool:
        stored = list(pool.map(run, [A, B]))
    assert sorted(stored) == [[], [2, 3]]
    first = (A, B)[stored.index([2, 3])]
    assert {i: own.tolist() for i, own in proposals_of(store, [2, 3], "m").items()} == {2: [first], 3: [first]}


def test_a_published_set_is_counted_once(store: Store) -> None:
    mined = begin(store)
    write(store, mined.id)
    assert mined.status == "mining"
    done = mining.publish_set(store, mined.id)
    assert done.status == "complete"
    assert (done.image_count, done.candidate_count, done.pair_count) == (3, 4, 2)
    assert done.fallback_count == 2
    assert done.fallback_count is not True
    assert done.summary is not None
    assert done.summary["raw"] == 12
    assert done.summary["pairs_per_image"] == [[0, 2], [2, 1]]
    histogram = done.summary["similarity"]  # 100 bins of 0.02 from -1
    assert len(histogram) == 100
    assert {i: n for i, n in enumerate(histogram) if n} == {56: 1, 93: 1}


def test_what_was_written_is_read_back(store: Store) -> None:
    mined = begin(store)
    write(store, mined.id)
    assert rows.rois_of(store, mined.id, [1, 2])[1].boxes.tolist() == [A, B]
    assert rows.neighbor_ids_of(store, mined.id, [1, 3]) == {1: [2], 3: [1]}
    (nearest,) = rows.neighbors_of(store, mined.id, 1)
    assert (nearest.rank, nearest.image.path, nearest.similarity) == (1, "b.jpg", 0.5)
    assert rows.pairs_of(store, mined.id, 1) == [
        rows.StoredPair(1, 1, tuple(B), tuple(C), 0.875, margin=0.25, cycle=True),
        rows.StoredPair(1, 2, tuple(A), tuple(C), 0.125, margin=None, cycle=False),
    ]
    assert rows.pairs_of(store, mined.id, 2) == []


def test_training_reads_every_image_with_its_boxes_and_pairs(store: Store) -> None:
    mined = begin(store)
    write(store, mined.id)
    read = list(rows.training_rows(store, mined.id))
    assert [row.image.path for row in read] == ["a.jpg", "b.jpg", "c.jpg"]
    assert read[0].rois.tolist() == [A, B]
    ((neighbor, pairs),) = read[0].neighbors
    assert neighbor.path == "b.jpg"
    assert pairs.tolist() == [[*B, *C], [*A, *C]]
    assert read[1].neighbors[0][1].shape == (0, 8)


def test_a_box_has_one_row_however_many_sets_use_it(store: Store) -> None:
    one, two = begin(store, "one"), begin(store, "two")
    mining.add_candidates(store, one.id, [CandidateRows(1, boxes(A, B), 2, False)])
    mining.add_candidates(
        store, two.id, [CandidateRows(1, boxes(B, C), 2, False), CandidateRows(2, boxes(A), 2, False)]
    )
    first, second = rows.rois_of(store, one.id, [1])[1], rows.rois_of(store, two.id, [1])[1]
    assert first.ids.tolist() == [1, 2]
    assert second.ids.tolist() == [2, 3]
    assert second.boxes.tolist() == [B, C]
    whole = rows.set_rois(store, two.id)
    assert (whole.ids.tolist(), whole.boxes.tolist(), whole.of(1)) == ([2, 3, 4], [B, C, A], slice(0, 2))
    assert rows.rois_of(store, two.id, [2])[2].ids.tolist() == [4]  # the same numbers on another image


def test_progress_of_an_unfinished_set_can_be_read(store: Store) -> None:
    mined = begin(store)
    assert mining.filtered_images(store, mined.id) == set()
    mining.add_candidates(store, mined.id, [CandidateRows(1, boxes(A), 2, False), CandidateRows(2, boxes(A), 2, False)])
    mining.add_pairs(store, mined.id, [MinedImage(2, ())])
    assert mining.filtered_images(store, mined.id) == {1, 2}
    assert mining.matched_images(store, mined.id) == {2}


def test_neighbours_written_by_an_earlier_attempt_are_left(store: Store) -> None:
    mined = begin(store)
    for neighbor in (2, 3):
        mining.add_neighbors(store, mined.id, np.array([1]), np.array([[neighbor]]), np.array([[0.5]], np.float32))
    assert rows.neighbor_ids_of(store, mined.id, [1]) == {1: [2]}


def test_a_set_is_taken_up_by_its_own_run_only_and_never_after_it_is_complete(store: Store) -> None:
    mined = begin(store)
    assert begin(store).id == mined.id
    other = add_run(store, Run(kind="mine", name="set", params={})).id
    with pytest.raises(StoreError, match="The correspondence set 'set' already exists"):
        begin(store, run=other)
    with pytest.raises(StoreError, match=r"'set' is not complete. Resume it with `orl runs resume 1`"):
        rows.complete_set_named(store, "set")
    assert rows.sets(store) == []
    mining.publish_set(store, mined.id)
    with pytest.raises(StoreError, match="already exists"):
        begin(store)
    assert rows.complete_set_named(store, "set").id == mined.id
    assert [s.name for s in rows.sets(store)] == ["set"]


@pytest.mark.parametrize(
    ("look_up", "sentence"),
    [
        (rows.complete_set_named, "There is no correspondence set 'x'. Make one with `orl mine`."),
        (encoder_named, "There is no encoder 'x'. Known encoders: e."),
        (dataset_named, "There is no dataset 'x'. Known datasets: trip."),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(store: Store, look_up, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(StoreError) as refusal:
        look_up(store, "x")
    assert str(refusal.value).startswith(sentence)


def test_the_same_weights_under_the_same_name_are_one_encoder(store: Store) -> None:
    assert add_encoder(store, new_encoder()).id == 1
    with pytest.raises(StoreError, match="The encoder 'e' already exists. Choose another name"):
        add_encoder(store, new_encoder(sha="1" * 64))
    second = add_encoder(store, new_encoder("f"))
    assert [e.name for e in encoders(store)] == ["e", "f"]
    found = encoder_by_id(store, second.id)
    assert found is not None
    assert found.name == "f"


def test_a_data_set_keeps_to_its_folder(store: Store) -> None:
    assert ensure_dataset(store, "trip", "/photos", "folder").id == 1
    with pytest.raises(StoreError, match="The dataset 'trip' holds the photos of /photos. Choose another name"):
        ensure_dataset(store, "trip", "/elsewhere", "folder")
    with pytest.raises(StoreError, match="There is no dataset 9"):
        dataset_by_id(store, 9)


def test_only_readable_current_photos_are_usable(store: Store) -> None:
    old = known_files(store, 1, ["a.jpg"])["a.jpg"].id
    add_photos(store, 1, [FoundPhoto("a.jpg", 32, 32), FoundPhoto("broken.jpg", error="truncated")], {"a.jpg": old})
    assert [(i.path, i.width) for i in usable_images(store, 1)] == [("b.jpg", 640), ("c.jpg", 640), ("a.jpg", 32)]


def test_a_verdict_is_kept_changed_and_withdrawn(store: Store) -> None:
    write(store, begin(store).id)
    query, key = (1, np.array(A)), (2, np.array(C))
    where = (tuple(A), 2, tuple(C))
    assert verdicts.judge(store, query, key, "good", "ann")
    assert verdicts.judge(store, query, key, "wrong", "bob")
    assert verdicts.verdicts_of(store, 1, "ann") == {where: "good"}
    assert verdicts.judge(store, query, key, "interesting", "ann")
    assert verdicts.verdicts_of(store, 1, "ann") == {where: "interesting"}
    assert verdicts.judge(store, query, key, None, "ann")
    assert verdicts.verdicts_of(store, 1, "ann") == {}
    assert verdicts.verdicts_of(store, 1, "bob") == {where: "wrong"}
    assert not verdicts.judge(store, query, (2, np.array(A)), "good", "ann")  # a box of no set


def test_new_counts_and_categories_are_a_new_revision_of_their_dataset(store: Store) -> None:
    """A reader between the last batch of photos and the count holds the old ones under the revision of the batch."""
    add_photos(store, 1, [FoundPhoto("d.jpg", 640, 480, boxes=(AnnotatedBox("cat", 1, 2, 30, 40),))], {})
    assert (dataset_by_id(store, 1).revision, dataset_by_id(store, 1).categories) == (2, None)
    counted = count_photos(store, 1)
    assert (counted.revision, counted.categories) == (3, {"cat": 1})
    assert count_photos(store, 1).revision == 3
