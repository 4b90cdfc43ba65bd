"""Comparison of two sets, on one image and in whole, against plain sets of rows; each is computed once."""

from __future__ import annotations

import random
import sqlite3

import pytest
from sqlalchemy import text

from orl_explorer.db import photos
from orl_explorer.db.photos import FoundPhoto
from orl_explorer.db.sets import comparison
from orl_explorer.db.sets.comparison import (
    Compared,
    ImageOverlap,
    Overlap,
    compare_image,
    compare_sets,
    kept_comparison,
    least_alike,
    overlap_of,
    shared_pairs,
    step_alike,
)
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.workspace import Workspace
from tests.db.mined import Found, add_set

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


QUESTIONS = [
    "SELECT neighbor_id FROM neighbor",
    "SELECT roi_id FROM candidate",
    "SELECT query_roi_id, key_roi_id FROM pair",
]


def by_sets(store: Store, first: int, second: int, image: int) -> Compared:
    """Compare with plain sets of rows."""
    found = []
    with store.session() as session:
        for question in QUESTIONS:
            where = text(f"{question} WHERE set_id = :of AND image_id = :image")
            one, two = ({tuple(r) for r in session.execute(where, {"of": s, "image": image})} for s in (first, second))
            found.append(Overlap(len(one & two), len(one), len(two)))
    return Compared(*found)


def added(parts: list[Compared], kind: str) -> Overlap:
    each = [getattr(part, kind) for part in parts]
    return Overlap(sum(o.shared for o in each), sum(o.first for o in each), sum(o.second for o in each))


@pytest.mark.parametrize("image", range(1, IMAGES + 1, 3))
def test_an_image_is_compared_as_sets_of_rows_are(store: Store, image: int) -> None:
    assert compare_image(store, 1, 2, image) == by_sets(store, 1, 2, image)
    assert len(shared_pairs(store, 1, 2, image)) == compare_image(store, 1, 2, image).pairs.shared


def test_the_same_pair_of_boxes_is_shared_wherever_it_ranks(workspace: Workspace) -> None:
    photos.ensure_dataset(workspace.store, "trip", "/photos", "folder")
    photos.add_photos(workspace.store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(3)], {})
    rois = {1: 2, 2: 2, 3: 2}
    add_set(workspace.store, "one", rois, {1: [(2, 0, 0), (2, 1, 1), (3, 0, 1)]})
    add_set(workspace.store, "two", rois, {1: [(3, 0, 1), (2, 1, 1), (2, 1, 0)]})
    found = compare_image(workspace.store, 1, 2, 1)
    assert found == Compared(Overlap(2, 2, 2), Overlap(2, 2, 2), Overlap(2, 3, 3))
    assert (found.neighbors.jaccard, found.pairs.jaccard) == (1.0, 0.5)
    whole = compare_sets(workspace.store, 1, 2)
    assert (whole.images, whole.total.pairs) == (3, Overlap(2, 3, 3))
    assert whole.histogram == [0] * 10 + [1] + [0] * 8 + [2]  # images 2 and 3 have no pair in either
    assert least_alike(workspace.store, 1, 2, 2) == [ImageOverlap(1, 1.0, 1.0, 0.5), ImageOverlap(2, 1.0, 1.0, 1.0)]


@pytest.mark.parametrize("block", [1, 7, 500])
def test_wholes_are_the_sum_of_the_images_that_both_cover(
    store: Store, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(comparison, "CHUNK", block)
    parts = {image: by_sets(store, 1, 2, image) for image in range(11, 31)}
    found = compare_sets(store, 1, 2)
    assert found.images == 20
    assert found.total == Compared(*(added(list(parts.values()), kind) for kind in ("neighbors", "rois", "pairs")))
    assert sum(found.histogram) == 20
    each = [ImageOverlap(i, p.neighbors.jaccard, p.rois.jaccard, p.pairs.jaccard) for i, p in parts.items()]
    assert least_alike(store, 1, 2, 99) == sorted(each, key=lambda o: (o.pairs, o.image_id))


def test_either_set_may_come_first(store: Store) -> None:
    there, back = compare_sets(store, 1, 2), compare_sets(store, 2, 1)
    assert (back.total.pairs.first, back.total.pairs.second) == (there.total.pairs.second, there.total.pairs.first)
    assert (back.images, back.histogram) == (there.images, there.histogram)
    assert least_alike(store, 2, 1, 99) == least_alike(store, 1, 2, 99)


def test_a_comparison_is_computed_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare_sets(store, 1, 2)
    monkeypatch.setattr(comparison, "_compare", lambda *_: pytest.fail("computed again"))
    assert compare_sets(store, 1, 2) == first


def test_somebody_who_was_quicker_is_no_trouble(store: Store) -> None:
    first = compare_sets(store, 1, 2)
    assert comparison._compare(store, 1, 2)["images"] == first.images
    assert len(least_alike(store, 1, 2, 99)) == first.images


@pytest.mark.parametrize("size", [1, 3, 20])
def test_pages_of_the_least_alike_laid_side_by_side_are_the_whole(store: Store, size: int) -> None:
    compare_sets(store, 1, 2)
    whole = least_alike(store, 1, 2, 99)
    listed: list[ImageOverlap] = []
    while page := least_alike(store, 1, 2, size, listed[-1] if listed else None):
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
        compare_sets(store, first, second)
    assert str(refusal.value) == sentence
    assert least_alike(store, first, second, 9) == []


@pytest.mark.sqlite
def test_a_page_of_the_least_alike_is_a_walk_in_its_index(store: Store) -> None:
    connection = sqlite3.connect(str(store.engine.url.database))
    question = (
        "SELECT image_id, neighbors, rois, pairs FROM image_comparison WHERE first_id = 1 AND second_id = 2 "
        "AND pairs >= 0.5 AND (pairs > 0.5 OR image_id > 7) ORDER BY pairs, image_id LIMIT 9"
    )
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}"))
    assert "ix_image_comparison_pairs (first_id=? AND second_id=? AND pairs>?)" in plan
    assert "TEMP B-TREE" not in plan


def test_one_steps_through_the_photos_from_the_least_alike_on(store: Store) -> None:
    assert step_alike(store, 1, 2, 11, True) is None  # nothing was compared yet
    compare_sets(store, 1, 2)
    order = [row.image_id for row in least_alike(store, 1, 2, 99)]
    assert [step_alike(store, 1, 2, image, True) for image in order] == [*order[1:], None]
    assert [step_alike(store, 2, 1, image, False) for image in order] == [None, *order[:-1]]
    assert overlap_of(store, 2, 1, order[0]) == least_alike(store, 1, 2, 1)[0]
    assert overlap_of(store, 1, 2, 5) is None  # only the first set covers it


def test_a_comparison_is_told_of_while_it_is_made_and_found_afterwards(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "CHUNK", 8)
    assert kept_comparison(store, 2, 1) is None
    told: list[tuple[int, int]] = []
    made = compare_sets(store, 2, 1, lambda done, of: told.append((done, of)))
    assert told == [(8, 20), (16, 20), (20, 20)]
    assert kept_comparison(store, 2, 1) == made
