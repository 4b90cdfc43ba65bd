"""Tags on photos and pairs: their authors and their counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from orl_explorer.db import photos
from orl_explorer.db.people.kept_out import KEPT_OUT, keep_out, kept_out, let_in
from orl_explorer.db.people.tags import (
    clean_tag,
    known_tags,
    tag_pair,
    tag_photos,
    tags_of,
    tags_of_pairs,
    untag_pair,
    untag_photos,
)
from orl_explorer.db.photos import FoundPhoto
from orl_explorer.db.sets.hubs import neighbor_counts
from orl_explorer.db.store import Store, StoreError, open_store, sqlite_url
from tests.db.mined import add_set


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(sqlite_url(tmp_path / "orl.sqlite"))
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(3)], {})
    add_set(store, "set", {1: 2, 2: 2, 3: 1}, {1: [(2, 0, 0), (2, 1, 1)]})  # RoIs 1 and 2, 3 and 4, 5
    return store


def test_a_tag_is_kept_once_for_each_author(store: Store) -> None:
    assert tag_photos(store, [1, 2, 2], "  blurred  photo ", "ann") == 2
    assert tag_photos(store, [2, 3], "blurred photo", "ann") == 1
    assert tag_photos(store, [2], "blurred photo", "bob") == 1
    assert tag_photos(store, [2], "night", "bob") == 1
    assert tags_of(store, [1, 2, 3]) == {1: ("blurred photo",), 2: ("blurred photo", "night"), 3: ("blurred photo",)}
    assert known_tags(store, 1) == {"blurred photo": 3, "night": 1}
    untag_photos(store, [1, 2], "blurred photo", "ann")
    assert tags_of(store, [1, 2, 3]) == {2: ("blurred photo", "night"), 3: ("blurred photo",)}
    assert known_tags(store, 1) == {"blurred photo": 2, "night": 1}


def test_a_photo_that_does_not_exist_gets_no_tag(store: Store) -> None:
    assert tag_photos(store, [99], "night", "ann") == 0
    assert known_tags(store, 1) == {}


@pytest.mark.parametrize("text", ["", " \n ", "x" * 41])
def test_a_tag_is_a_short_word(text: str) -> None:
    with pytest.raises(StoreError, match="Invalid tag of .* characters. Use 1 to 40 characters"):
        clean_tag(text)


def test_a_pair_is_tagged_by_its_two_rois(store: Store) -> None:
    tag_pair(store, 1, 3, "texture", "ann")
    tag_pair(store, 1, 3, "texture", "ann")
    tag_pair(store, 1, 3, "people", "bob")
    tag_pair(store, 1, 4, "sky", "ann")
    assert tags_of_pairs(store, [(1, 3), (2, 4)]) == {(1, 3): ("people", "texture")}
    assert not untag_pair(store, 1, 3, "texture", "bob")
    assert tags_of_pairs(store, [(1, 3)]) == {(1, 3): ("people", "texture")}
    assert untag_pair(store, 1, 3, " texture ", "ann")
    assert tags_of_pairs(store, [(1, 3), (1, 4)]) == {(1, 3): ("people",), (1, 4): ("sky",)}


def test_every_change_of_a_mark_is_counted(store: Store) -> None:
    def marks() -> int:
        return photos.dataset_by_id(store, 1).marks

    assert marks() == 0
    tag_photos(store, [1, 2], "night", "ann")
    assert marks() == 1
    tag_pair(store, 1, 3, "sky", "ann")
    assert marks() == 2
    untag_pair(store, 1, 3, "sky", "ann")
    untag_photos(store, [1], "night", "ann")
    assert marks() == 4


def test_a_photo_is_kept_out_whoever_says_so_and_let_in_by_anybody(store: Store) -> None:
    assert keep_out(store, [3, 2, 3], "ann") == 2
    assert keep_out(store, [3], "bob") == 1
    tag_photos(store, [1, 3], "night", "ann")
    assert kept_out(store, 1).tolist() == [2, 3]
    assert tags_of(store, [3]) == {3: (KEPT_OUT, "night")}
    let_in(store, [3])
    assert kept_out(store, 1).tolist() == [2]
    assert tags_of(store, [3]) == {3: ("night",)}
    assert kept_out(store, 99).tolist() == []


def test_photos_are_counted_by_how_often_they_are_neighbours(store: Store) -> None:
    set_id = add_set(store, "hubs", {1: 1, 2: 1, 3: 1}, {1: [(3, 0, 0)], 2: [(3, 0, 0), (1, 0, 0)], 3: [(1, 0, 0)]})
    found = neighbor_counts(store, set_id)
    assert (found.ids.tolist(), found.times.tolist()) == ([1, 3, 2], [2, 2, 0])
