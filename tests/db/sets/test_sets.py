"""Renaming and deleting sets: what is refused, what is deleted, what is kept."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from sqlalchemy import func, select, text

from orl_explorer.db import photos
from orl_explorer.db.models import Base, Encoder, Run
from orl_explorer.db.people.export import tag_rows, verdict_rows
from orl_explorer.db.people.tags import tag_pair, tag_photos
from orl_explorer.db.people.verdicts import judge_pair
from orl_explorer.db.photos import FoundPhoto
from orl_explorer.db.runs.runs import add_run, run_by_id, update_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.check import lost_reference
from orl_explorer.db.sets.comparison import TwoSets
from orl_explorer.db.sets.manage import (
    _remove_some,
    delete_set,
    deleted_sets,
    dependents,
    remove_rows,
    rename_set,
)
from orl_explorer.db.sets.read import find_set, set_by_id, sets
from orl_explorer.db.store import Store, StoreError
from orl_explorer.train.mining.compared import compare_sets
from orl_explorer.train.workspace import Workspace
from tests.db.mined import add_set

FOUND = {1: [(2, 0, 0), (2, 1, 1), (3, 0, 0)], 2: [(1, 1, 0)]}
OF_SET = ("correspondence_set", "neighbor", "candidate", "pair", "set_image", "set_comparison", "image_comparison")


@pytest.fixture
def store(workspace: Workspace) -> Store:
    """Two sets of three photos: RoIs 1 and 2 are of the first photo, 3 and 4 of the second, 5 of the third."""
    store = workspace.store
    photos.ensure_dataset(store, "trip", "/photos", "folder")
    photos.add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48) for n in range(3)], {})
    for name in ("one", "two"):
        update_run(store, add_run_of(store, name), status="done")
    return store


def add_run_of(store: Store, name: str) -> int:
    set_id = add_set(store, name, {1: 2, 2: 2, 3: 1}, FOUND)
    found = set_by_id(store, set_id)
    assert found is not None and found.run_id is not None
    return found.run_id


def training(store: Store, set_id: int, status: str) -> int:
    run = Run(kind="train", name="pupil", status=status, params={"correspondence": "one", "config": {"seed": 1}})
    run.correspondence_set_id = set_id
    return add_run(store, run).id


def counts(store: Store) -> dict[str, int]:
    with store.session() as session:
        tables = {name: table for name, table in Base.metadata.tables.items() if name != "alembic_version"}
        return {name: session.scalar(select(func.count()).select_from(table)) or 0 for name, table in tables.items()}


def test_what_depends_on_a_set(store: Store) -> None:
    done, live = training(store, 1, "done"), training(store, 1, "running")
    training(store, 2, "done")
    row = Encoder(name="pupil", architecture="resnet18", kind="stage3", supervised=False, weights_sha256="1")
    row.weights_path, row.image_features, row.roi_features, row.run_id = "p.pt", 4, 4, done
    with store.session() as session:
        session.add(row)
    compare_sets(store, TwoSets(1, 2, 50))
    judge_pair(store, 1, 3, "good", "ann")
    judge_pair(store, 1, 3, "wrong", "bob")
    judge_pair(store, 3, 1, "wrong", "ann")  # no pair of the set
    found = dependents(store, 1)
    assert [run.id for run in found.trained] == [done]
    assert [run.id for run in found.live] == [live]
    assert [encoder.name for encoder in found.encoders] == ["pupil"]
    assert (found.compared, found.verdicts) == (["two"], 1)


def test_a_set_is_renamed_also_for_the_runs_that_trained_on_it(store: Store) -> None:
    run = training(store, 1, "failed")
    rename_set(store, 1, "  first ")
    assert find_set(store, "one") is None
    found = find_set(store, "first")
    assert found is not None and found.id == 1
    assert run_by_id(store, run).params == {"correspondence": "first", "config": {"seed": 1}}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("two", "The correspondence set 'two' already exists. Choose another name."),
        (" ", "A correspondence set needs a name."),
    ],
)
def test_an_invalid_name_is_a_sentence(store: Store, name: str, sentence: str) -> None:
    with pytest.raises(StoreError) as refused:
        rename_set(store, 1, name)
    assert str(refused.value) == sentence
    assert {s.name for s in sets(store)} == {"one", "two"}


def test_a_set_that_is_not_complete_keeps_its_name(store: Store) -> None:
    set_id = add_set(store, "half", {1: 1}, {}, publish=False)
    found = set_by_id(store, set_id)
    assert found is not None and found.run_id is not None
    update_run(store, found.run_id, status="failed")
    with pytest.raises(StoreError, match="'half' is not complete. Wait for its run"):
        rename_set(store, set_id, "whole")


def test_a_set_in_use_is_neither_renamed_nor_deleted(store: Store) -> None:
    for status in ("queued", "running", "stopping"):
        run = training(store, 1, status)
        before = counts(store)
        for change in (lambda: rename_set(store, 1, "first"), lambda: delete_set(store, 1, "ann")):
            with pytest.raises(
                StoreError, match=rf"Run {run} \(pupil\) uses the correspondence set 'one'. Wait for it"
            ):
                change()
        assert counts(store) == before
        update_run(store, run, status="done")


def test_a_set_that_is_being_mined_is_not_deleted(store: Store) -> None:
    set_id = add_set(store, "half", {1: 1}, {}, publish=False)  # its run is queued
    with pytest.raises(StoreError, match="uses the correspondence set 'half'"):
        delete_set(store, set_id, "ann")


def test_deleting_takes_all_of_a_set_and_nothing_else(store: Store) -> None:
    run = training(store, 1, "done")
    compare_sets(store, TwoSets(1, 2, 50))
    judge_pair(store, 1, 3, "good", "ann")
    tag_pair(store, 1, 3, "odd", "ann")
    tag_photos(store, [1], "night", "ann")
    before = counts(store)
    delete_set(store, 1, "ann")
    after = counts(store)
    gone = {name: before[name] - after[name] for name in before if before[name] != after[name]}
    assert gone == {
        "correspondence_set": 1,
        "neighbor": 3,
        "candidate": 5,
        "pair": 4,
        "set_image": 3,
        "set_comparison": 1,
        "image_comparison": 3,
        "deleted_set": -1,
    }
    assert [s.name for s in sets(store)] == ["two"]
    kept = run_by_id(store, run)
    assert (kept.correspondence_set_id, kept.params["correspondence"]) == (None, "one")
    (gone_set,) = deleted_sets(store)
    assert (gone_set.id, gone_set.name, gone_set.pair_count, gone_set.author) == (1, "one", 4, "ann")
    with store.session() as session:
        if store.engine.dialect.name == "sqlite":
            assert session.execute(text("PRAGMA foreign_key_check")).all() == []
        assert lost_reference(session.connection(), 2) is None


def test_rows_of_a_deleted_set_that_belong_to_none_of_its_photos_go_too(store: Store) -> None:
    with store.session() as session:
        session.execute(text("DELETE FROM set_image WHERE set_id = 1 AND image_id = 3"))
    delete_set(store, 1, "ann")
    with store.session() as session:
        assert session.scalar(text("SELECT COUNT(*) FROM candidate WHERE set_id = 1")) == 0
        assert session.scalar(text("SELECT COUNT(*) FROM candidate WHERE set_id = 2")) == 5


def test_a_run_that_goes_on_after_its_set_was_deleted_leaves_no_row(store: Store) -> None:
    before = counts(store)
    delete_set(store, 1, "ann")
    after = counts(store)
    gone = pytest.raises(StoreError, match=r"^The set was deleted while its rows were written|FOREIGN KEY|foreign key")
    with gone:
        write.add_candidates(store, 1, [write.CandidateRows(1, np.array([[0, 0, 9, 9]], np.int16), 5, False)])
    with gone:
        write.add_neighbors(store, 1, np.array([1]), np.array([[2]]), np.array([[0.5]], np.float32))
    pair = write.MinedPairs(1, np.array([1]), np.array([3]), *(np.ones(1, np.float32),) * 2, np.ones(1, bool))
    with gone:
        write.add_pairs(store, 1, [write.MinedImage(1, (pair,))])
    assert counts(store) == after != before


@pytest.mark.sqlite
@pytest.mark.parametrize(("table", "gone"), [("set_comparison", False), ("candidate", True), ("set_image", True)])
def test_a_deletion_that_fails_half_way_leaves_no_half_of_a_set_to_be_seen(
    store: Store, table: str, gone: bool
) -> None:
    compare_sets(store, TwoSets(1, 2, 50))
    before = counts(store)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER full BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    with pytest.raises(StoreError, match="Cannot write the store: no space is left in "):
        delete_set(store, 1, "ann")
    seen = [s.name for s in sets(store, complete_only=False)]
    assert seen == (["two"] if gone else ["two", "one"])
    assert (find_set(store, "one") is None) == gone
    assert not gone or len(deleted_sets(store)) == 1
    assert gone or counts(store) == before
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
    if gone:
        with pytest.raises(StoreError, match="no longer exists"):
            delete_set(store, 1, "ann")
        remove_rows(store)
    else:
        delete_set(store, 1, "ann")
    with store.session() as session:
        for name in ("pair", "candidate", "neighbor", "set_image"):
            assert session.scalar(text(f"SELECT COUNT(*) FROM {name} WHERE set_id = 1")) == 0
        assert session.scalar(text("SELECT COUNT(*) FROM correspondence_set")) == 1


def test_rows_are_removed_some_photos_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orl_explorer.db.sets.manage.CHUNK", 2)
    seen = []
    monkeypatch.setattr("orl_explorer.db.sets.manage._remove_some", lambda *args: seen.append(1) or _remove_some(*args))
    delete_set(store, 1, "ann")
    assert len(seen) == 3  # two photos, one photo, the set
    assert counts(store)["pair"] == 4


def test_the_name_of_a_deleted_set_is_free_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orl_explorer.db.sets.manage.remove_rows", lambda _: None)
    delete_set(store, 1, "ann")
    rename_set(store, 2, "one")
    assert [s.name for s in sets(store)] == ["one"]


@pytest.mark.sqlite
def test_a_reader_sees_the_whole_set_until_it_is_gone(store: Store) -> None:
    reading = sqlite3.connect(str(store.engine.url.database), isolation_level=None)
    count = "SELECT COUNT(*) FROM pair WHERE set_id = 2"
    reading.execute("BEGIN")
    assert reading.execute(count).fetchone() == (4,)
    delete_set(store, 2, "ann")
    assert reading.execute(count).fetchone() == (4,)
    assert reading.execute("SELECT name FROM correspondence_set WHERE id = 2").fetchall() == [("two",)]
    reading.execute("COMMIT")
    assert reading.execute(count).fetchone() == (0,)
    assert reading.execute("SELECT name FROM correspondence_set").fetchall() == [("one",)]


def test_the_id_of_a_deleted_set_is_never_given_again(store: Store) -> None:
    delete_set(store, 2, "ann")
    assert add_set(store, "two", {1: 2, 2: 2, 3: 1}, FOUND) == 3
    assert [s.name for s in deleted_sets(store)] == ["two"]


def test_a_set_that_does_not_exist_is_a_sentence(store: Store) -> None:
    with pytest.raises(StoreError, match="This correspondence set no longer exists"):
        delete_set(store, 9, "ann")


def test_what_people_said_of_a_set_is_listed_by_photo(store: Store) -> None:
    tag_photos(store, [3, 1], "night", "ann")
    tag_pair(store, 2, 4, "odd", "bob")
    tag_pair(store, 3, 4, "elsewhere", "bob")  # no pair
    judge_pair(store, 4, 1, "wrong", "ann")
    judge_pair(store, 1, 3, "good", "bob")
    judge_pair(store, 1, 3, "good", "ann")
    said = [row[:7] for row in verdict_rows(store, 1)]
    first = (1, 2, (0, 0, 9, 9), (0, 0, 9, 9), 0.75, "good")
    assert said == [(*first, "ann"), (*first, "bob"), (2, 1, (1, 0, 9, 9), (0, 0, 9, 9), 0.25, "wrong", "ann")]
    assert [row[:7] for row in tag_rows(store, 1)] == [
        (1, None, None, None, None, "night", "ann"),
        (3, None, None, None, None, "night", "ann"),
        (1, 2, (1, 0, 9, 9), (1, 0, 9, 9), None, "odd", "bob"),
    ]
