"""Orders of a set's pairs against plain sorting of the same rows, and when they are rebuilt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orl_explorer.db import photos
from orl_explorer.db.encoders import add_encoder
from orl_explorer.db.models import CorrespondenceSet, Encoder, Neighbor, Run
from orl_explorer.db.people.tags import tag_pair
from orl_explorer.db.people.verdicts import judge_pair, verdicts_on
from orl_explorer.db.photos import AnnotatedBox, FoundPhoto
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.pairs import candidate_places, known_pair_tags, matches_at, pair_keys, pair_places
from orl_explorer.db.sets.read import set_by_id
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs
from orl_explorer.db.store import insert_rows
from orl_explorer.train.mining import orders as module
from orl_explorer.train.mining.making import Making
from orl_explorer.train.mining.orders import (
    MatchOrder,
    PairOrders,
    drop_matches,
    make_matches,
    match_keys,
    match_rows,
    matches_or_making,
    orders_of,
    position_of,
    try_again,
)
from orl_explorer.train.workspace import Workspace, open_workspace

pytestmark = pytest.mark.both_databases

NAN = float("nan")
DOG, CAT = AnnotatedBox("dog", 0, 0, 10, 10), AnnotatedBox("cat", 20, 0, 10, 10)
# (photo, neighbour's rank, rank), RoI of the query and of the key, similarity, margin, way back
PAIRS = [
    ((1, 1, 1), 1, 3, 0.75, 0.25, 1),
    ((1, 1, 2), 2, 4, 0.5, 0.125, 0),
    ((1, 2, 1), 1, 6, 0.625, NAN, 0),
    ((2, 1, 1), 3, 1, 0.75, 0.5, 1),
    ((2, 2, 1), 4, 6, -0.25, NAN, 1),
    ((3, 1, 1), 5, 2, 0.25, 0.0, 0),
]
NEAR = {1: (2, 3), 2: (1, 3), 3: (1, 2)}  # each photo's neighbours
COVERS = {1: "dog", 2: "cat", 3: "dog"}  # by RoI; the others cover nothing
JUDGED = {(1, 3): ("good", "ann"), (2, 4): ("wrong", "ann"), (5, 2): ("wrong", "bob")}
TAGGED = {(1, 3), (3, 1)}


def mined_set(workspace: Workspace) -> CorrespondenceSet:
    """Three photos: RoIs 1 and 2 are of the first, 3 and 4 of the second, 5 and 6 of the third."""
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    boxes = [(DOG, CAT), (DOG,), ()]
    photos.add_photos(store, 1, [FoundPhoto(f"{i}.jpg", 64, 48, boxes=own) for i, own in enumerate(boxes, 1)], {})
    photos.count_photos(store, 1)
    row = Encoder(name="e", architecture="resnet18", kind="imported", supervised=False, weights_sha256="0")
    row.weights_path, row.image_features, row.roi_features = "e.pt", 4, 4
    run = add_run(store, Run(kind="mine", name="set", params={}))
    set_id = write.begin_set(store, "set", 1, add_encoder(store, row).id, {}, run.id).id
    own = np.array([[0, 0, 10, 10], [20, 0, 10, 10]], np.int16)
    write.add_candidates(store, set_id, [CandidateRows(i, own, 9, False) for i in (1, 2, 3)])
    with store.session() as session:
        rows = [(set_id, i, rank, other, 0.5) for i in NEAR for rank, other in enumerate(NEAR[i], 1)]
        insert_rows(session, Neighbor, ("set_id", "image_id", "rank", "neighbor_id", "similarity"), rows)
    for image in NEAR:
        found = []
        for rank in (1, 2):
            some = [p for p in PAIRS if p[0][:2] == (image, rank)]
            query, key = (np.array([p[side] for p in some], np.int64) for side in (1, 2))
            numbers = (np.array([p[column] for p in some], np.float32) for column in (3, 4))
            found.append(MinedPairs(rank, query, key, *numbers, np.array([p[5] for p in some], bool)))
        write.add_pairs(store, set_id, [MinedImage(image, tuple(found))])
    write.publish_set(store, set_id)
    for (query, key), (verdict, author) in JUDGED.items():
        judge_pair(store, query, key, verdict, author)  # type: ignore[arg-type]
    for query, key in TAGGED:
        tag_pair(store, query, key, "odd", "ann")
    found_set = set_by_id(store, set_id)
    assert found_set is not None
    return found_set


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, CorrespondenceSet, PairOrders]:
    workspace = open_workspace(tmp_path_factory.mktemp("matches") / "workspace")
    mined = mined_set(workspace)
    return workspace, mined, make_matches(workspace, mined)


def plainly(order: MatchOrder) -> list[tuple[int, int, int]]:
    """Return the expected positions of the pairs, in order."""

    def passes(pair: tuple) -> bool:
        _, query, key, similarity, _, _ = pair
        verdict = JUDGED.get((query, key), (None,))[0]
        return (
            (order.least is None or similarity >= order.least)
            and (order.category is None or COVERS.get(query) == order.category)
            and (order.tag is None or (order.tag == "odd" and (query, key) in TAGGED))
            and (
                order.verdict is None
                or (verdict is not None if order.verdict == "any" else verdict == order.verdict)
                or (order.verdict == "none" and verdict is None)
            )
        )

    kept = [pair for pair in PAIRS if passes(pair)]
    match order.sort:
        case "similarity":
            kept.sort(key=lambda pair: pair[3])
        case "margin":
            kept.sort(key=lambda pair: (np.isnan(pair[4]), pair[4]))
        case _:
            kept.sort(key=lambda pair: (pair[5], -pair[3]))
    without_margin = [pair for pair in kept if order.sort == "margin" and np.isnan(pair[4])]
    kept = [pair for pair in kept if pair not in without_margin]
    kept = [*(kept[::-1] if order.descending else kept), *without_margin]
    shown: dict[object, tuple[int, int, int]] = {}
    for (image, near, rank), *_ in kept:
        photos_of = frozenset((image, NEAR[image][near - 1]))
        once = {"query": image, "photos": photos_of, None: (image, near, rank)}[order.once]
        shown.setdefault(once, (image, near, rank))
    return list(shown.values())


orders = st.builds(
    MatchOrder,
    sort=st.sampled_from(["similarity", "margin", "cycle"]),
    descending=st.booleans(),
    least=st.sampled_from([None, -1.0, 0.25, 0.5, 0.6, 0.75, 0.9]),
    category=st.sampled_from([None, None, "dog", "cat", "whale"]),
    verdict=st.sampled_from([None, None, "good", "wrong", "interesting", "any", "none"]),
    tag=st.sampled_from([None, None, "odd", "even"]),
    once=st.sampled_from([None, "query", "photos"]),
)


@pytest.mark.parametrize("few", [0, 8, 10**9])  # filtered pairs are sorted by themselves: always, if few, never
@settings(max_examples=100, deadline=None)
@given(order=orders)
def test_every_order_is_what_plain_sorting_makes_of_it(
    made: tuple[Workspace, CorrespondenceSet, PairOrders], few: int, order: MatchOrder
) -> None:
    workspace, mined, found = made
    module._rows.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEW", few)
        rows = match_rows(workspace, mined, found, order)
    assert list(map(tuple, pair_places(match_keys(found, rows, 0, 99)).tolist())) == plainly(order)
    assert match_keys(found, rows, 1, 2).tolist() == match_keys(found, rows, 0, 99).tolist()[1:3]


def test_the_best_pair_of_each_two_photos_or_of_each_query(
    made: tuple[Workspace, CorrespondenceSet, PairOrders],
) -> None:
    workspace, mined, found = made

    def shown(order: MatchOrder) -> list[tuple[int, ...]]:
        rows = match_rows(workspace, mined, found, order)
        return [tuple(place) for place in pair_places(match_keys(found, rows, 0, 99)).tolist()]

    assert shown(MatchOrder(once="photos")) == [(2, 1, 1), (1, 2, 1), (2, 2, 1)]  # 1 and 2, 1 and 3, 2 and 3
    assert shown(MatchOrder(once="query")) == [(2, 1, 1), (1, 1, 1), (3, 1, 1)]
    assert shown(MatchOrder(once="query", category="cat")) == [(1, 1, 2)]
    assert shown(MatchOrder(once="photos", category="whale")) == []


def test_the_pairs_around_a_similarity_are_found(made: tuple[Workspace, CorrespondenceSet, PairOrders]) -> None:
    workspace, mined, found = made
    for descending, places in (
        (True, {0.9: 0, 0.75: 0, 0.7: 2, 0.625: 2, 0.3: 4, -1.0: 6}),
        (False, {0.3: 2, 0.75: 4}),
    ):
        order = MatchOrder(descending=descending)  # 0.75 0.75 0.625 0.5 0.25 -0.25, or the other way round
        rows = match_rows(workspace, mined, found, order)
        assert {at: position_of(found, rows, order, at) for at in places} == places


def test_a_card_has_both_photos_boxes_and_measures(made: tuple[Workspace, CorrespondenceSet, PairOrders]) -> None:
    workspace, mined, _ = made
    first, missing, second = pair_keys(np.array([[1, 2, 1], [9, 1, 1], [2, 1, 1]])).tolist()
    cards = matches_at(workspace.store, mined.id, np.array([first, missing, second]))
    assert [card.key for card in cards] == [first, second]
    card = cards[0]
    assert (card.query.path, card.neighbor.path, card.neighbor_rank, card.rank) == ("1.jpg", "3.jpg", 2, 1)
    assert (card.query_box, card.key_box) == ((0, 0, 10, 10), (20, 0, 10, 10))
    assert (card.similarity, card.margin, card.cycle) == (0.625, None, False)
    assert candidate_places(workspace.store, mined.id, 1, [2, 1, 3]) == [1, 0, None]
    assert matches_at(workspace.store, mined.id, np.empty(0, np.int64)) == []
    assert known_pair_tags(workspace.store, 1) == {"odd": 2}
    assert verdicts_on(workspace.store, [(1, 3), (5, 2), (9, 9)], "ann") == {(1, 3): "good"}


def test_a_key_is_a_place_and_the_other_way_round() -> None:
    places = np.array([[1, 1, 1], [118_287, 10, 65_535], [2_000_000, 300, 1]])
    assert pair_places(pair_keys(places)).tolist() == places.tolist()
    assert np.all(np.diff(pair_keys(places)) > 0)


def resident(folder: Path) -> int:
    """Return how many kilobytes of a folder's files this process has in memory."""
    held, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split(maxsplit=5)
        if not name.endswith(":"):  # a mapping: its addresses first, its file last
            inside = rest[-1].startswith(str(folder))
        elif inside and name == "Rss:":
            held += int(rest[0])
    return held


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what is resident")
@pytest.mark.parametrize("order", [MatchOrder(category="dog"), MatchOrder("margin", least=0.5), MatchOrder("cycle")])
def test_what_a_filter_reads_of_the_files_is_let_go(
    made: tuple[Workspace, CorrespondenceSet, PairOrders], order: MatchOrder
) -> None:
    workspace, mined, found = made
    module._rows.cache_clear()
    assert found.category.tolist() and resident(workspace.orders) > 0

    rows = match_rows(workspace, mined, found, order)

    assert resident(workspace.orders) == 0
    assert len(match_keys(found, rows, 0, 36)) == len(rows) > 0


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Workspace, CorrespondenceSet]:
    workspace = open_workspace(tmp_path / "workspace")
    return workspace, mined_set(workspace)


def test_a_verdict_given_meanwhile_is_filtered_by_at_once(fresh: tuple[Workspace, CorrespondenceSet]) -> None:
    workspace, mined = fresh
    found = make_matches(workspace, mined)
    interesting = MatchOrder(verdict="interesting")
    assert len(match_rows(workspace, mined, found, interesting)) == 0
    judge_pair(workspace.store, 3, 1, "interesting", "cem")
    assert len(match_rows(workspace, mined, found, interesting)) == 1


def test_orders_are_made_once_and_anew_when_annotations_change(fresh: tuple[Workspace, CorrespondenceSet]) -> None:
    workspace, mined = fresh
    assert orders_of(workspace, mined) is None
    seen: list[tuple[int, int]] = []
    make_matches(workspace, mined, lambda done, total: seen.append((done, total)))
    assert seen == [(3, 3)]
    found = orders_of(workspace, mined)
    assert found is not None
    assert len(match_rows(workspace, mined, found, MatchOrder(category="cat"))) == 1
    photos.replace_annotations(workspace.store, {3: (AnnotatedBox("cat", 0, 0, 10, 10),)})
    assert orders_of(workspace, mined) is None
    found = make_matches(workspace, mined)
    assert len(match_rows(workspace, mined, found, MatchOrder(category="cat"))) == 2


def test_a_damaged_cache_is_made_anew_and_a_deleted_one_too(fresh: tuple[Workspace, CorrespondenceSet]) -> None:
    workspace, mined = fresh
    make_matches(workspace, mined)
    (workspace.orders / "1" / "order.json").write_text("{")
    assert orders_of(workspace, mined) is None
    make_matches(workspace, mined)
    assert orders_of(workspace, mined) is not None
    shutil.rmtree(workspace.orders)
    assert orders_of(workspace, mined) is None
    make_matches(workspace, mined)
    drop_matches(workspace, mined.id)
    assert list(workspace.orders.iterdir()) == []


def test_a_page_that_cannot_wait_is_told_how_far_the_orders_are(fresh: tuple[Workspace, CorrespondenceSet]) -> None:
    workspace, mined = fresh
    assert isinstance(matches_or_making(workspace, mined, patience=60), PairOrders)


def test_orders_of_a_workspace_on_a_read_only_disk_last_as_long_as_the_process(
    fresh: tuple[Workspace, CorrespondenceSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, mined = fresh
    kept = make_matches(workspace, mined)
    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and writable(path, mode))
    assert np.array_equal(orders_of(workspace, mined).keys, kept.keys)  # type: ignore[union-attr]
    shutil.rmtree(workspace.orders)
    found = matches_or_making(workspace, mined, patience=60)
    assert isinstance(found, PairOrders)
    assert np.array_equal(found.by["margin"], kept.by["margin"])
    assert not workspace.orders.exists()


def test_orders_of_a_read_only_workspace_leave_no_file_in_it(fresh: tuple[Workspace, CorrespondenceSet]) -> None:
    workspace, mined = fresh
    shown = open_workspace(workspace.path, read_only=True)
    assert isinstance(matches_or_making(shown, mined, patience=60), PairOrders)
    assert not workspace.orders.exists()


def test_orders_that_cannot_be_written_are_a_sentence(
    fresh: tuple[Workspace, CorrespondenceSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, mined = fresh
    workspace.orders.write_text("in the way")
    making = matches_or_making(workspace, mined, patience=60)
    assert isinstance(making, Making)
    assert making.error is not None
    assert making.error.startswith("Cannot write the orders of the pairs: ")
    workspace.orders.unlink()
    assert matches_or_making(workspace, mined, patience=60) is making  # until somebody asks for another attempt
    try_again(workspace, mined)
    assert isinstance(matches_or_making(workspace, mined, patience=60), PairOrders)
