"""The gallery under filters and shuffles, against plain loops over the same photos, and after changes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from orl_explorer.db import photos
from orl_explorer.db.gallery.order import GalleryOrder, gallery_count, gallery_ids, gallery_page, shuffled, step
from orl_explorer.db.people.selections import find_selection, keep_selection, selected_ids, selections
from orl_explorer.db.people.tags import tag_photos, untag_photos
from orl_explorer.db.people.verdicts import judge
from orl_explorer.db.photos import AnnotatedBox, FoundPhoto
from orl_explorer.db.sets.write import CandidateRows, add_candidates
from orl_explorer.db.store import Store, open_store, sqlite_url
from orl_explorer.train.workspace import Workspace
from tests.conftest import Database
from tests.db.mined import add_set
from tests.postgres import EMPTY

DOG, CAT = AnnotatedBox("dog", 0, 0, 9, 9), AnnotatedBox("cat", 0, 0, 9, 9)
#        path         categories    candidates, pairs; None where the set does not cover it
PHOTOS = [
    ("b/two.jpg", (DOG, DOG), (3, 2)),
    ("A_1.jpg", (CAT,), (2, 1)),
    ("b/One.jpg", (DOG, CAT), (3, 0)),
    ("a%1.jpg", (), (1, 1)),
    ("c.jpg", (CAT,), None),
    ("über.jpg", (DOG,), (4, 3)),
    ("old.jpg", (DOG,), (5, 1)),  # superseded by one without boxes
]


EVERYWHERE = range(1, 10)
MARKED = {None: EVERYWHERE, "odd": (1, 2, 4, 9), "even": (3,), "ODD": ()}
JUDGED = {
    None: EVERYWHERE,
    "good": (1,),
    "wrong": (6,),
    "interesting": (),
    "any": (1, 6),
    "none": {*EVERYWHERE} - {1, 6},
}
SORTED_BY = {
    "pairs": "pair_count",
    "similarity": "mean_similarity",
    "regions": "candidate_count",
    "cycle": "cycle_share",
    "margin": "mean_margin",
}


@pytest.fixture(scope="module")
def store(database: Database, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    if database == "postgresql":
        url = request.getfixturevalue("postgres").create(EMPTY)
    else:
        url = f"sqlite:///{tmp_path_factory.mktemp('gallery')}/orl.sqlite"
    store = open_store(url)
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(path, 64, 48, boxes=boxes) for path, boxes, _ in PHOTOS], {})
    rois = {image: mined[0] for image, (_, _, mined) in enumerate(PHOTOS, 1) if mined}
    pairs = {image: mined[1] for image, (_, _, mined) in enumerate(PHOTOS, 1) if mined and mined[1]}
    near = {image: 1 if image > 1 else 2 for image in pairs}
    add_set(store, "set", rois, {image: [(near[image], n, 0) for n in range(count)] for image, count in pairs.items()})
    photos.add_photos(store, 1, [FoundPhoto("old.jpg", 64, 48)], {"old.jpg": 7})
    photos.ensure_dataset(store, "other", "/elsewhere", "folder")
    photos.add_photos(store, 2, [FoundPhoto("b/foreign.jpg", 64, 48, boxes=(DOG,))], {})
    tag_photos(store, [1, 4, 9], "odd", "ann")
    tag_photos(store, [1, 2], "odd", "bob")
    tag_photos(store, [3], "even", "bob")
    for query, verdict in ((1, "good"), (6, "wrong")):
        pair = (query, np.array([0, 0, 9, 9])), (1 if query > 1 else 2, np.array([0, 0, 9, 9]))
        assert judge(store, *pair, verdict, "ann")
    assert keep_selection(store, 1, [6, 1, 9, 5, 6], author="ann") == 1
    return store


def by_loops(store: Store, order: GalleryOrder) -> list[int]:
    """Compute the expected gallery from the rows of the tables, one photo at a time."""
    current = "SELECT id, path FROM image WHERE dataset_id = 1 AND superseded_by IS NULL"
    counts = f"SELECT image_id, {', '.join(SORTED_BY.values())} FROM set_image WHERE set_id = 1"
    with store.session() as session:
        images = session.execute(text(current)).all()
        mined = {row[0]: row[1:] for row in session.execute(text(counts))}
        boxes = session.execute(text("SELECT image_id, category FROM annotation")).all()
    by_set = order.set_id is not None and order.sort in SORTED_BY
    by_pairs = order.set_id is not None and (order.fewest_pairs is not None or order.most_pairs is not None)
    least, most = order.fewest_pairs or 0, 99 if order.most_pairs is None else order.most_pairs
    kept = []
    for image, path in images:
        if (
            (image in mined or not (by_set or by_pairs))
            and order.search.lower() in path.lower()
            and (order.category is None or (image, order.category) in boxes)
            and (not by_pairs or least <= mined[image][0] <= most)
            and image in MARKED[order.tag]
            and image in JUDGED[order.verdict]
            and (order.selection is None or image in {1: (1, 5, 6, 9)}.get(order.selection, ()))
        ):
            value = mined[image][list(SORTED_BY).index(order.sort)] if by_set else path
            kept.append((value if value is not None else -2, image))
    return [image for _, image in sorted(kept, reverse=order.descending)]


orders = st.builds(
    GalleryOrder,
    dataset_id=st.just(1),
    set_id=st.sampled_from([None, 1]),
    sort=st.sampled_from(["name", *SORTED_BY]),
    descending=st.booleans(),
    search=st.sampled_from(["", "b/", "B", "1", "%", "_", "ÜB", "x y"]),
    category=st.sampled_from([None, "dog", "cat", "whale"]),
    fewest_pairs=st.sampled_from([None, 0, 1, 2]),
    most_pairs=st.sampled_from([None, 0, 1, 2]),
    tag=st.sampled_from([None, None, "odd", "even", "ODD"]),
    verdict=st.sampled_from([None, None, "good", "wrong", "interesting", "any", "none"]),
    selection=st.sampled_from([None, None, 1, 2]),
)


@settings(max_examples=150, deadline=None)
@given(orders, st.integers(0, 7), st.integers(1, 4))
def test_every_order_is_what_plain_loops_make_of_it(store: Store, order: GalleryOrder, offset: int, limit: int) -> None:
    expected = by_loops(store, order)
    assert gallery_ids(store, order).tolist() == expected
    assert gallery_count(store, order) == len(expected)
    assert [tile.id for tile in gallery_page(store, order, offset, limit)] == expected[offset : offset + limit]
    for image in range(1, 10):
        at = expected.index(image) if image in expected else None
        assert step(store, order, image, True) == (None if at is None else [*expected, None][at + 1])
        assert step(store, order, image, False) == (None if at is None else [None, *expected][at])


@pytest.mark.parametrize("seed", [0, 1, -5, 2**70])
@pytest.mark.parametrize("category", [None, "dog"])
def test_a_shuffle_shows_the_same_photos_in_the_order_of_its_seed(
    store: Store, seed: int, category: str | None
) -> None:
    order = GalleryOrder(1, 1, "random", seed=seed, category=category)
    ids = gallery_ids(store, order).tolist()
    assert sorted(ids) == sorted(by_loops(store, replace(order, sort="name")))
    assert gallery_ids(store, replace(order, descending=True)).tolist() == ids[::-1]
    assert step(store, order, ids[0], True) == ids[1]


def test_shuffles_of_many_seeds_put_every_photo_everywhere() -> None:
    ids = np.array([3, 5, 8, 13, 21])
    places = Counter((int(i), at) for seed in range(2000) for at, i in enumerate(shuffled(ids, seed)))
    assert len(places) == 25
    assert min(places.values()) > 300  # 400 of 2000 each, on average
    assert shuffled(ids, 7).tolist() == shuffled(ids[::-1], 7).tolist()


def test_a_photo_that_is_added_leaves_the_shuffle_of_the_others_as_it_was() -> None:
    before, after = shuffled(np.arange(50), 3).tolist(), shuffled(np.arange(51), 3).tolist()
    assert [i for i in after if i != 50] == before


def paths(store: Store, order: GalleryOrder) -> list[str]:
    return [tile.path for tile in gallery_page(store, order, 0, 99)]


@pytest.fixture
def changing(tmp_path: Path) -> Store:
    store = open_store(sqlite_url(tmp_path / "orl.sqlite"))
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto("b.jpg", 9, 9, boxes=(DOG,)), FoundPhoto("d.jpg", 9, 9)], {})
    return store


def test_photos_that_were_added_or_replaced_are_shown_at_once(changing: Store) -> None:
    assert paths(changing, GalleryOrder(1)) == ["b.jpg", "d.jpg"]
    photos.add_photos(changing, 1, [FoundPhoto("c.jpg", 9, 9)], {})
    assert paths(changing, GalleryOrder(1)) == ["b.jpg", "c.jpg", "d.jpg"]
    photos.add_photos(changing, 1, [FoundPhoto("b.jpg", 8, 8)], {"b.jpg": 1})
    assert gallery_ids(changing, GalleryOrder(1)).tolist() == [4, 3, 2]


def test_annotations_that_were_replaced_are_filtered_by_at_once(changing: Store) -> None:
    assert paths(changing, GalleryOrder(1, category="dog")) == ["b.jpg"]
    photos.replace_annotations(changing, {2: (DOG,)})
    assert paths(changing, GalleryOrder(1, category="dog")) == ["b.jpg", "d.jpg"]
    assert photos.count_photos(changing, 1).categories == {"dog": 2}


def test_the_same_annotations_again_change_nothing(changing: Store) -> None:
    before = photos.dataset_by_id(changing, 1).revision
    photos.replace_annotations(changing, {1: (DOG,), 2: ()})
    assert photos.dataset_by_id(changing, 1).revision == before
    photos.replace_annotations(changing, {1: ()})
    assert photos.dataset_by_id(changing, 1).revision == before + 1


def test_a_set_that_still_grows_is_read_anew(changing: Store) -> None:
    photos.add_photos(changing, 1, [FoundPhoto("e.jpg", 9, 9)], {})
    set_id = add_set(changing, "set", {1: 1, 2: 2}, {}, publish=False)
    by_regions = GalleryOrder(1, set_id, "regions")
    assert paths(changing, by_regions) == ["b.jpg", "d.jpg"]
    add_candidates(changing, set_id, [CandidateRows(3, np.array([[0, 0, 9, 9]], np.int16), 1, False)])
    assert paths(changing, by_regions) == ["b.jpg", "e.jpg", "d.jpg"]


def test_marks_are_filtered_by_at_once(changing: Store) -> None:
    add_set(changing, "set", {1: 1, 2: 1}, {1: [(2, 0, 0)]})
    box = np.array([0, 0, 9, 9])
    assert paths(changing, GalleryOrder(1, tag="odd")) == []
    tag_photos(changing, [2], "odd", "ann")
    assert paths(changing, GalleryOrder(1, tag="odd")) == ["d.jpg"]
    assert [tile.tags for tile in gallery_page(changing, GalleryOrder(1), 0, 2)] == [(), ("odd",)]
    untag_photos(changing, [2], "odd", "bob")
    assert paths(changing, GalleryOrder(1, tag="odd")) == ["d.jpg"]
    untag_photos(changing, [2], "odd", "ann")
    assert paths(changing, GalleryOrder(1, tag="odd")) == []
    assert paths(changing, GalleryOrder(1, verdict="none")) == ["b.jpg", "d.jpg"]
    judge(changing, (1, box), (2, box), "wrong", "ann")
    assert paths(changing, GalleryOrder(1, verdict="none")) == ["d.jpg"]
    assert paths(changing, GalleryOrder(1, verdict="wrong")) == ["b.jpg"]
    judge(changing, (1, box), (2, box), None, "ann")
    assert paths(changing, GalleryOrder(1, verdict="wrong")) == []


def test_a_union_is_filtered_by_the_marks_of_its_members_photos(changing: Store) -> None:
    photos.ensure_dataset(changing, "other", "/elsewhere", "folder")
    photos.add_photos(changing, 2, [FoundPhoto("f.jpg", 9, 9)], {})
    whole = photos.unite(changing, ["other", "trip"]).id
    assert paths(changing, GalleryOrder(whole, tag="odd")) == []
    tag_photos(changing, [1, 3], "odd", "ann")
    assert paths(changing, GalleryOrder(whole, tag="odd")) == ["b.jpg", "f.jpg"]


def test_a_selection_is_kept_as_it_was_made(store: Store) -> None:
    assert selected_ids(store, 1).tolist() == [1, 5, 6, 9]
    assert selected_ids(store, 99).tolist() == []
    assert selections(store, 1) == [(1, "4 photos")]
    found = find_selection(store, 1)
    assert found is not None
    assert (found.author, found.dataset_id, len(found.image_ids)) == ("ann", 1, 32)
    assert find_selection(store, 2) is None


@pytest.mark.sqlite
def test_what_is_read_into_memory_is_read_along_an_index(changing: Store) -> None:
    connection = sqlite3.connect(str(changing.engine.url.database))

    def plan(question: str) -> str:
        return " | ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}"))

    assert plan("SELECT image_id FROM annotation WHERE category = 'dog'") == (
        "SEARCH annotation USING COVERING INDEX ix_annotation_category (category=?)"
    )
    names = plan("SELECT id, path FROM image WHERE dataset_id = 1 AND superseded_by IS NULL ORDER BY path, id")
    assert names == "SEARCH image USING INDEX ix_image_current (dataset_id=?)"
    counts = plan("SELECT image_id, pair_count FROM set_image WHERE set_id = 1 ORDER BY image_id")
    assert counts == "SEARCH set_image USING PRIMARY KEY (set_id=?)"


def test_what_is_kept_cannot_be_written_to(store: Store) -> None:
    with pytest.raises(ValueError, match="read-only"):
        gallery_ids(store, GalleryOrder(1))[0] = 9


def test_marks_of_two_datasets_that_were_marked_as_often_are_not_mixed_up(workspace: Workspace) -> None:
    store = workspace.store
    for number, name in enumerate(("first", "second"), 1):
        photos.ensure_dataset(store, name, f"/{name}", "folder")
        photos.add_photos(store, number, [FoundPhoto("a.jpg", 64, 48), FoundPhoto("b.jpg", 64, 48)], {})
    box = np.array([0, 0, 9, 9])
    for number, image, other in ((1, 1, 2), (2, 4, 3)):
        add_set(store, f"set-{number}", {image: 1, other: 1}, {image: [(other, 0, 0)]})
        tag_photos(store, [image], "odd", "ann")
        assert judge(store, (image, box), (other, box), "good", "ann")
        assert gallery_ids(store, GalleryOrder(number, tag="odd")).tolist() == [image]
        assert gallery_ids(store, GalleryOrder(number, verdict="good")).tolist() == [image]
