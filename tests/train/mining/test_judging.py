"""Samples of pairs to judge, and what literal verdicts say of a set, on both databases."""

from __future__ import annotations

import numpy as np
import pytest

from orl_explorer.db import photos
from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.gallery.order import shuffled
from orl_explorer.db.models import CorrespondenceSet, Encoder, Neighbor, Run
from orl_explorer.db.people.judged import JudgedPair, judged_pairs
from orl_explorer.db.people.verdicts import judge_pair
from orl_explorer.db.photos import AnnotatedBox, FoundPhoto
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.pairs import pair_keys
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs
from orl_explorer.db.store import insert_rows
from orl_explorer.orl.measure.judged import Share, Threshold
from orl_explorer.train.mining.judging import PairSample, pairs_at_least, sample_keys, verdict_summary
from orl_explorer.train.mining.orders import PairOrders, make_matches
from orl_explorer.train.workspace import Workspace

pytestmark = pytest.mark.both_databases

COSINES = [0.9, 0.852, 0.8, 0.7504, 0.7501, 0.7, 0.6, 0.5]  # of RoI n of the first photo with RoI n of the second
MARGINS = [0.4, 0.1, 0.3, 0.2, float("nan"), 0.05, 0.6, 0.5]
Subject = tuple[Workspace, CorrespondenceSet, PairOrders]


@pytest.fixture
def subject(workspace: Workspace) -> Subject:
    """Two photos of eight RoIs each. RoIs 1 to 8 are of the first photo, 9 to 16 of the second; 3 and 5 cover a dog."""
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    dogs = [AnnotatedBox("dog", 20 * n, 0, 10, 10) for n in (2, 4)]
    photos.add_photos(store, 1, [FoundPhoto("1.jpg", 200, 48, boxes=dogs), FoundPhoto("2.jpg", 200, 48)], {})
    photos.count_photos(store, 1)
    row = Encoder(name="e", architecture="resnet18", kind="imported", supervised=False, weights_sha256="0")
    row.weights_path, row.image_features, row.roi_features = "e.pt", 4, 4
    run = add_run(store, Run(kind="mine", name="set", params={}))
    set_id = write.begin_set(store, "set", 1, add_encoder(store, row).id, {}, run.id).id
    boxes = np.array([[20 * n, 0, 10, 10] for n in range(8)], np.int16)
    write.add_candidates(store, set_id, [CandidateRows(image, boxes, 9, False) for image in (1, 2)])
    with store.session() as session:
        near = [(set_id, 1, 1, 2, 0.5), (set_id, 2, 1, 1, 0.5)]
        insert_rows(session, Neighbor, ("set_id", "image_id", "rank", "neighbor_id", "similarity"), near)
    numbers = np.array(COSINES, np.float32), np.array(MARGINS, np.float32), np.ones(8, bool)
    found = MinedPairs(1, np.arange(1, 9), np.arange(9, 17), *numbers)
    write.add_pairs(store, set_id, [MinedImage(1, (found,)), MinedImage(2, ())])
    write.publish_set(store, set_id)
    mined = set_by_id(store, set_id)
    assert mined is not None
    return workspace, mined, make_matches(workspace, mined)


def key(number: int) -> int:
    """Return the key of the pair of RoI ``number`` of the first photo."""
    return int(pair_keys(np.array([[1, 1, number]]))[0])


def drawn(subject: Subject, **asked: object) -> list[int]:
    keys = sample_keys(*subject, PairSample(**asked))  # type: ignore[arg-type]
    return [found & 0xFFFF for found in keys.tolist()]


def test_a_random_sample_is_the_same_whenever_it_is_drawn(subject: Subject) -> None:
    first = drawn(subject, count=8, seed=1)
    assert sorted(first) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert drawn(subject, count=3, seed=1) == first[:3]
    assert drawn(subject, count=8, seed=2) != first
    assert drawn(subject, count=1000, seed=1) == first


def test_the_first_of_a_shuffle_are_those_of_the_whole_shuffle() -> None:
    ids = np.arange(1, 1000) * 65_537
    for seed in range(3):
        assert shuffled(ids, seed, 50).tolist() == shuffled(ids, seed)[:50].tolist()


def test_other_orders_begin_with_the_smallest_margin_or_the_nearest_cosine(subject: Subject) -> None:
    assert drawn(subject, draw="margin", count=4) == [6, 2, 4, 3]
    assert drawn(subject, draw="margin", count=8)[-1] == 5  # it has no margin
    assert drawn(subject, draw="near", near=0.76, count=5) == [4, 5, 3, 6, 2]
    assert drawn(subject, draw="near", near=-1.0, count=2) == [8, 7]
    assert drawn(subject, draw="near", near=1.0, count=2) == [1, 2]


def test_a_category_leaves_the_pairs_of_its_objects(subject: Subject) -> None:
    assert sorted(drawn(subject, category="dog")) == [3, 5]
    assert drawn(subject, draw="near", near=0.8, category="dog") == [3, 5]
    assert drawn(subject, category="cat") == []


def test_a_pair_is_what_most_people_say() -> None:
    for verdicts, good, divided in (
        ({"ann": "good"}, True, False),
        ({"ann": "good", "bob": "wrong"}, None, True),
        ({"ann": "good", "bob": "wrong", "cy": "wrong"}, False, True),
        ({"ann": "interesting"}, None, False),
        ({"ann": "interesting", "bob": "wrong"}, False, False),
    ):
        pair = JudgedPair(1, 0.5, verdicts)  # type: ignore[arg-type]
        assert (pair.good, pair.divided) == (good, divided)


def test_verdicts_propose_a_threshold_and_say_what_share_is_wrong(subject: Subject) -> None:
    """Good are pairs 1, 2, 4, 5 and 7. At cosine ≥ 0.75, four of five are good, and five of the set's eight stay."""
    workspace, mined, found = subject
    for number in range(1, 9):
        judge_pair(workspace.store, number, number + 8, "good" if number in (1, 2, 4, 5, 7) else "wrong", "ann")
    said = verdict_summary(workspace, mined, found, 0.8)
    assert (said.pairs, said.wrong, said.people, said.few) == (8, Share(3, 8), {"ann": 8}, True)
    assert (said.threshold, said.stays) == (Threshold(0.75, Share(4, 5)), Share(5, 8))
    assert verdict_summary(workspace, mined, found, 1.0).threshold == Threshold(0.852, Share(2, 2))
    assert verdict_summary(workspace, mined, found, 1.0).stays == Share(2, 8)
    assert said.agreements == []
    some = verdict_summary(workspace, mined, found, 0.8, [key(3), key(6), key(7)])
    assert (some.pairs, some.wrong, some.threshold, some.stays) == (3, Share(2, 3), None, None)
    assert [pairs_at_least(found, least) for least in (-1, 0.5, 0.852, 0.95)] == [8, 8, 2, 0]


def test_people_agree_or_are_divided(subject: Subject) -> None:
    """Ann and Bob judge the same four pairs, two of them alike; Cy only one."""
    workspace, mined, found = subject
    for author, verdicts in {
        "ann": {1: "good", 2: "good", 3: "wrong", 4: "wrong", 5: "interesting"},
        "bob": {1: "good", 2: "wrong", 3: "good", 4: "wrong", 5: "wrong"},
        "cy": {2: "wrong", 8: "interesting"},
    }.items():
        for number, verdict in verdicts.items():
            judge_pair(workspace.store, number, number + 8, verdict, author)  # type: ignore[arg-type]
    said = verdict_summary(workspace, mined, found)
    assert [(each.first, each.second, each.found.pairs, each.found.agreed) for each in said.agreements] == [
        ("ann", "bob", 4, 2),
        ("ann", "cy", 1, 0),
        ("bob", "cy", 1, 1),
    ]
    assert said.agreements[0].found.kappa == 0
    assert said.agreements[2].found.kappa is None
    assert said.divided.tolist() == [key(2), key(3)]
    assert (said.pairs, said.interesting) == (6, 1)
    assert said.wrong == Share(3, 4)  # 1 is good; 2, 4 and 5 are wrong; 3 is open
    assert [pair.key for pair in judged_pairs(workspace.store, mined.id, [key(2), key(7)])] == [key(2)]
