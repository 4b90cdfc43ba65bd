"""Comparison of two sets, on one photo and in whole, against plain loops; each is computed once."""

from __future__ import annotations

import random
import sqlite3

import pytest

from orl_explorer.db import photos
from orl_explorer.db.photos import FoundPhoto
from orl_explorer.db.sets.comparison import (
    Compared,
    ImageOverlap,
    Overlap,
    TwoSets,
    kept_comparison,
    least_alike,
    overlap_of,
    step_alike,
)
from orl_explorer.db.sets.read import neighbors_of, pair_rows, rois_of
from orl_explorer.db.store import Store, StoreError
from orl_explorer.orl.boxes import iou
from orl_explorer.train.mining import compared
from orl_explorer.train.mining.compared import compare_sets, neighbor_differences, pair_differences, pairs_overlap
from orl_explorer.train.workspace import Workspace
from tests.db.mined import Found, add_set

pytestmark = pytest.mark.both_databases

IMAGES = 40


def drawn(seed: int, first: int, last: int) -> tuple[dict[int, int], Found]:
    """Write candidates for images first..last, and some pairs between them."""
    rng = random.Random(seed)
    rois = {image: rng.randint(1, 4) for image in range(first, last + 1)}
    found: Found = {}
    for image, count in rois.items():
        near = rng.sample([i for i in rois if i != image][:8], rng.randint(0, 3))
        pairs = {(n, rng.randrange(count), rng.randrange(rois[n])) for n in near for _ in range(3)}
        if pairs:
            found[image] = sorted(pairs)
    return rois, found


@pytest.fixture
def store(workspace: Workspace) -> Store:
    """Sets 1 (images 1 to 30), 2 (11 to 40), 3 (1 to 5) and an unfinished 4."""
    photos.ensure_dataset(workspace.store, "trip", "/photos", "folder")
    photos.add_photos(workspace.store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(IMAGES)], {})
    for seed, (name, first, last) in enumerate([("one", 1, 30), ("two", 11, 40), ("three", 1, 5)]):
        add_set(workspace.store, name, *drawn(seed, first, last))
    add_set(workspace.store, "unfinished", {1: 1}, {}, publish=False)
    return workspace.store


EQUAL, HALF, BACK = TwoSets(1, 2, 100), TwoSets(1, 2, 50), TwoSets(2, 1, 100)


def by_loops(store: Store, two: TwoSets, image: int) -> Compared:
    """Compare with plain loops over the rows of a photo."""
    near, rois, pairs = [], [], []
    for set_id in (two.first, two.second):
        near.append([((), neighbor.image.id) for neighbor in neighbors_of(store, set_id, image)])
        found = rois_of(store, set_id, [image])
        rois.append([((box,), 0) for box in found[image].boxes] if found else [])
        rows = pair_rows(store, set_id, [image])[image]
        pairs.append([((row.query_box, row.key_box), row.neighbor_id) for row in rows])

    def alike(one: tuple, other: tuple) -> bool:
        return one[1] == other[1] and all(iou(a, b) * 100 >= two.percent for a, b in zip(one[0], other[0], strict=True))

    def overlap(first: list, second: list) -> Overlap:
        again = sum(any(alike(one, other) for other in second) for one in first)
        return Overlap(len(first), len(second), again, sum(any(alike(a, b) for a in first) for b in second))

    return Compared(overlap(*near), overlap(*rois), overlap(*pairs))


def added(parts: list[Compared], kind: str) -> Overlap:
    each = [getattr(part, kind) for part in parts]
    names = ("first", "second", "first_found", "second_found")
    return Overlap(*(sum(getattr(overlap, name) for overlap in each) for name in names))


def test_a_pair_is_the_same_if_both_its_boxes_overlap_enough(workspace: Workspace) -> None:
    photos.ensure_dataset(workspace.store, "trip", "/photos", "folder")
    photos.add_photos(workspace.store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(3)], {})
    rois = {1: 4, 2: 4, 3: 4}  # RoI n is moved by n of 9 pixels: an IoU of 0.8, 0.64 and 0.5 with the first
    add_set(workspace.store, "one", rois, {1: [(2, 0, 0), (2, 3, 3), (3, 0, 1)]})
    add_set(workspace.store, "two", rois, {1: [(3, 0, 2), (2, 3, 3), (2, 1, 0)]})
    whole = compare_sets(workspace.store, EQUAL)
    assert whole.total == Compared(Overlap(2, 2, 2, 2), Overlap(12, 12, 12, 12), Overlap(3, 3, 1, 1))
    assert (whole.images, whole.total.neighbors.agreement, round(whole.total.pairs.agreement, 3)) == (3, 1.0, 0.333)
    assert whole.histogram == [0] * 6 + [1] + [0] * 12 + [2]  # images 2 and 3 have no pair in either
    soft = compare_sets(workspace.store, HALF)
    assert soft.total.pairs == Overlap(3, 3, 3, 3)
    assert compare_sets(workspace.store, TwoSets(1, 2, 90)).total == whole.total
    assert least_alike(workspace.store, EQUAL, 1) == [ImageOverlap(1, 1.0, 1.0, 1 / 3)]
    assert least_alike(workspace.store, HALF, 1) == [ImageOverlap(1, 1.0, 1.0, 1.0)]


@pytest.mark.parametrize("percent", [50, 100])
@pytest.mark.parametrize("block", [1, 7, 500])
def test_wholes_are_the_sum_of_the_photos_that_both_cover(
    store: Store, monkeypatch: pytest.MonkeyPatch, block: int, percent: int
) -> None:
    two = TwoSets(1, 2, percent)
    monkeypatch.setattr(compared, "CHUNK", block)
    parts = {image: by_loops(store, two, image) for image in range(11, 31)}
    found = compare_sets(store, two)
    assert found.images == 20
    assert found.total == Compared(*(added(list(parts.values()), kind) for kind in ("neighbors", "rois", "pairs")))
    assert sum(found.histogram) == 20
    each = [ImageOverlap(i, p.neighbors.agreement, p.rois.agreement, p.pairs.agreement) for i, p in parts.items()]
    assert least_alike(store, two, 99) == sorted(each, key=lambda o: (o.pairs, o.image_id))
    for image, part in parts.items():
        rows = (pair_rows(store, set_id, [image])[image] for set_id in (1, 2))
        differences = pair_differences(*rows, percent)
        assert pairs_overlap([d for some in differences.values() for d in some]) == part.pairs


def test_either_set_may_come_first(store: Store) -> None:
    there, back = compare_sets(store, EQUAL), compare_sets(store, BACK)
    assert (back.total.pairs.first, back.total.pairs.second) == (there.total.pairs.second, there.total.pairs.first)
    assert (back.images, back.histogram) == (there.images, there.histogram)
    assert least_alike(store, BACK, 99) == least_alike(store, EQUAL, 99)


def test_a_comparison_is_computed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare_sets(store, EQUAL)
    monkeypatch.setattr(compared, "_compare", lambda *_: pytest.fail("computed again"))
    assert compare_sets(store, EQUAL) == first


def test_somebody_who_was_quicker_is_no_trouble(store: Store) -> None:
    first = compare_sets(store, EQUAL)
    compared._compare(store, EQUAL, None)
    assert kept_comparison(store, EQUAL) == first
    assert len(least_alike(store, EQUAL, 99)) == first.images


@pytest.mark.parametrize("size", [1, 3, 20])
def test_pages_of_the_least_alike_laid_side_by_side_are_the_whole(store: Store, size: int) -> None:
    compare_sets(store, EQUAL)
    whole = least_alike(store, EQUAL, 99)
    listed: list[ImageOverlap] = []
    while page := least_alike(store, EQUAL, size, listed[-1] if listed else None):
        assert len(page) <= size
        listed += page
    assert listed == whole


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (2, 3, "Cannot compare the two sets: they have no photo in common."),
        (1, 4, "Cannot compare set 4: it does not exist or is not complete."),
        (9, 1, "Cannot compare set 9: it does not exist or is not complete."),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_sentence(
    store: Store, first: int, second: int, sentence: str
) -> None:
    with pytest.raises(StoreError) as refusal:
        compare_sets(store, TwoSets(first, second, 100))
    assert str(refusal.value) == sentence
    assert least_alike(store, TwoSets(first, second, 100), 9) == []


@pytest.mark.sqlite
def test_a_page_of_the_least_alike_is_a_walk_in_its_index(store: Store) -> None:
    connection = sqlite3.connect(str(store.engine.url.database))
    question = (
        "SELECT image_id, neighbors, rois, pairs FROM image_comparison WHERE first_id = 1 AND second_id = 2 "
        "AND percent = 50 AND pairs >= 0.5 AND (pairs > 0.5 OR image_id > 7) ORDER BY pairs, image_id LIMIT 9"
    )
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}"))
    assert "ix_image_comparison_pairs (first_id=? AND second_id=? AND percent=? AND pairs>?)" in plan
    assert "TEMP B-TREE" not in plan


def test_one_steps_through_the_photos_from_the_least_alike_on(store: Store) -> None:
    assert step_alike(store, EQUAL, 11, True) is None  # nothing was compared yet
    compare_sets(store, EQUAL)
    order = [row.image_id for row in least_alike(store, EQUAL, 99)]
    assert [step_alike(store, EQUAL, image, True) for image in order] == [*order[1:], None]
    assert [step_alike(store, BACK, image, False) for image in order] == [None, *order[:-1]]
    assert overlap_of(store, BACK, order[0]) == least_alike(store, EQUAL, 1)[0]
    assert overlap_of(store, EQUAL, 5) is None  # only the first set covers it


def test_a_comparison_is_told_of_while_it_is_made_and_found_afterwards(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "CHUNK", 8)
    assert kept_comparison(store, BACK) is None
    told: list[tuple[int, int]] = []
    made = compare_sets(store, BACK, lambda done, of: told.append((done, of)))
    assert told == [(8, 20), (16, 20), (20, 20)]
    assert kept_comparison(store, BACK) == made


def test_neighbours_and_pairs_are_kept_lost_or_new(workspace: Workspace) -> None:
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(4)], {})
    rois = {1: 2, 2: 2, 3: 2, 4: 2}
    # query 1: (neighbour, RoI of the query, RoI of the neighbour)
    add_set(store, "one", rois, {1: [(2, 0, 0), (2, 1, 1), (3, 0, 1)]})
    add_set(store, "two", rois, {1: [(4, 1, 1), (2, 1, 1), (2, 1, 0)]})
    near = neighbor_differences(*(neighbors_of(store, s, 1) for s in (1, 2)))
    ranks = [(n.image.id, n.status, n.first and n.first.rank, n.second and n.second.rank) for n in near]
    assert ranks == [(2, "kept", 1, 2), (3, "lost", 2, None), (4, "new", None, 1)]
    rows = [pair_rows(store, s, [1])[1] for s in (1, 2)]

    def told(percent: int) -> dict[int, list[tuple]]:
        return {
            neighbor: [
                (*((row.query_x, row.key_x) if row else None for row in (pair.first, pair.second)), pair.status)
                for pair in pairs
            ]
            for neighbor, pairs in pair_differences(*rows, percent).items()
        }

    assert told(100) == {
        2: [((1, 1), (1, 1), "kept"), ((0, 0), None, "lost"), (None, (1, 0), "new")],
        3: [((0, 1), None, "lost")],
        4: [(None, (1, 1), "new")],
    }
    # RoI 1 overlaps RoI 0 by an IoU of 0.8. The equal pairs are coupled first.
    assert told(50)[2] == [((0, 0), (1, 0), "kept"), ((1, 1), (1, 1), "kept")]


def test_a_pair_like_one_that_is_coupled_already_is_kept_alone(workspace: Workspace) -> None:
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(2)], {})
    add_set(store, "one", {1: 3, 2: 3}, {1: [(2, 0, 0), (2, 1, 1)]})
    add_set(store, "two", {1: 3, 2: 3}, {1: [(2, 1, 1)]})
    first, second = (pair_rows(store, s, [1])[1] for s in (1, 2))
    [pairs] = pair_differences(first, second, 50).values()
    assert [(p.first and p.first.query_x, p.second and p.second.query_x, p.status) for p in pairs] == [
        (0, None, "kept"),
        (1, 1, "kept"),
    ]
    assert pairs_overlap(pairs) == Overlap(2, 1, 2, 1)


def test_a_photo_that_one_set_does_not_cover_has_lost_everything(workspace: Workspace) -> None:
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(2)], {})
    add_set(store, "one", {1: 1, 2: 1}, {1: [(2, 0, 0)]})
    assert [n.status for n in neighbor_differences(neighbors_of(store, 1, 1), [])] == ["lost"]
    [[pair]] = pair_differences(pair_rows(store, 1, [1])[1], [], 50).values()
    assert (pair.status, pair.first is not None and pair.first.similarity) == ("lost", 0.75)
