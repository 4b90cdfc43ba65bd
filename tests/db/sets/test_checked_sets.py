"""A set whose rows break what a complete set promises is never published."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest
from sqlalchemy import text

from orl_explorer.db.photos import FoundPhoto, add_photos, ensure_dataset
from orl_explorer.db.sets.read import find_set
from orl_explorer.db.sets.write import publish_set
from orl_explorer.db.store import StoreError
from orl_explorer.train.workspace import Workspace
from tests.conftest import Database
from tests.db.mined import add_set

NEIGHBOURS = "the photo a.jpg has neighbours that are not distinct photos with finite similarities"
PAIRS = "the photo a.jpg has pairs with gaps in their ranks, or without finite similarities"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE neighbor SET neighbor_id = 2 WHERE image_id = 1 AND rank = 2", NEIGHBOURS),
        ("UPDATE neighbor SET rank = 3 WHERE image_id = 1 AND rank = 2", NEIGHBOURS),
        ("UPDATE neighbor SET similarity = :infinity WHERE image_id = 1", NEIGHBOURS),
        ("UPDATE neighbor SET similarity = -1.1 WHERE image_id = 1", NEIGHBOURS),
        ("UPDATE pair SET similarity = 1.1 WHERE image_id = 1", PAIRS),
        ("UPDATE pair SET rank = 5 WHERE image_id = 1 AND rank = 2", PAIRS),
        ("UPDATE set_image SET pair_count = NULL WHERE image_id = 1", "the photo a.jpg has no pairs yet"),
        ("UPDATE correspondence_set SET params = '{\"neighbors\": 2}'", "1 of its 3 photos have neighbours"),
        (None, ""),
    ],
)
def test_a_broken_set_is_not_published(workspace: Workspace, damage: str | None, sentence: str) -> None:
    store = workspace.store
    ensure_dataset(store, "trip", "/photos", "folder")
    add_photos(store, 1, [FoundPhoto(f"{name}.jpg", 64, 48) for name in "abc"], {})
    set_id = add_set(store, "s", {1: 3, 2: 3, 3: 3}, {1: [(2, 0, 0), (2, 1, 1), (3, 0, 0)]}, publish=False)
    if damage is None:
        assert publish_set(store, set_id).status == "complete"
        return
    with store.session() as session:
        session.execute(text(damage), {"infinity": math.inf} if "infinity" in damage else {})
    with pytest.raises(StoreError) as refusal:
        publish_set(store, set_id)
    assert str(refusal.value) == f"The set 's' is not complete: {sentence}. Mine again under another name."
    found = find_set(store, "s")
    assert found is not None
    assert found.status != "complete"


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        ("UPDATE neighbor SET neighbor_id = 4 WHERE image_id = 1 AND rank = 2", "photo"),
        ("UPDATE neighbor SET image_id = 99 WHERE image_id = 1", "photo"),
        ("UPDATE candidate SET image_id = 99 WHERE image_id = 2", "photo"),
        ("UPDATE pair SET image_id = 99 WHERE image_id = 1", "photo"),
        ("UPDATE candidate SET roi_id = 99 WHERE image_id = 3 AND rank = 3", "RoI"),
        ("UPDATE pair SET query_roi_id = 99 WHERE image_id = 1 AND rank = 1", "RoI"),
        ("UPDATE pair SET key_roi_id = 99 WHERE image_id = 1 AND rank = 2", "RoI"),
    ],
)
def test_a_set_that_refers_to_what_is_not_there_is_never_published(
    workspace: Workspace, database: Database, damage: str, lost: str
) -> None:
    store = workspace.store
    ensure_dataset(store, "trip", "/photos", "folder")
    add_photos(store, 1, [FoundPhoto(f"{name}.jpg", 64, 48) for name in "abc"], {})
    set_id = add_set(store, "s", {1: 3, 2: 3, 3: 3}, {1: [(2, 0, 0), (2, 1, 1), (3, 0, 0)]}, publish=False)
    refused = nullcontext() if database == "postgresql" else pytest.raises(StoreError, match="FOREIGN KEY")
    with refused, store.session() as session:
        session.execute(text(damage))
    if database == "postgresql":  # which looks at all of a set's references at once, at its end
        with pytest.raises(StoreError, match=f"^The set 's' is not complete: it refers to a {lost} that is not there"):
            publish_set(store, set_id)
        found = find_set(store, "s")
        assert found is not None
        assert found.status == "mining"
