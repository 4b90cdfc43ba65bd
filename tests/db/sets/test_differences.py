"""Differences in one photo's neighbours and pairs between two sets."""

from __future__ import annotations

from orl_explorer.db import photos
from orl_explorer.db.photos import FoundPhoto
from orl_explorer.db.sets.comparison import neighbor_differences, pair_differences
from orl_explorer.db.sets.read import neighbors_of, pair_rows
from orl_explorer.train.workspace import Workspace
from tests.db.mined import add_set


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
    found = pair_differences(*(pair_rows(store, s, [1])[1] for s in (1, 2)))
    said = {
        neighbor: [(p.boxes[0][0], p.boxes[1][0], p.status, p.first is None, p.second is None) for p in pairs]
        for neighbor, pairs in found.items()
    }
    assert said == {
        2: [(1, 1, "kept", False, False), (0, 0, "lost", False, True), (1, 0, "new", True, False)],
        3: [(0, 1, "lost", False, True)],
        4: [(1, 1, "new", True, False)],
    }


def test_a_photo_that_one_set_does_not_cover_has_lost_everything(workspace: Workspace) -> None:
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(2)], {})
    add_set(store, "one", {1: 1, 2: 1}, {1: [(2, 0, 0)]})
    assert [n.status for n in neighbor_differences(neighbors_of(store, 1, 1), [])] == ["lost"]
    [[pair]] = pair_differences(pair_rows(store, 1, [1])[1], []).values()
    assert (pair.status, pair.first is not None and pair.first.similarity) == ("lost", 0.75)
