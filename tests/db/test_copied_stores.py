"""A whole store copied between SQLite and PostgreSQL: every row the same, or nothing at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import URL, insert, make_url, select, text

from orl_explorer.db.base import Base
from orl_explorer.db.models import Annotation, CorrespondenceSet, Encoder, Evaluation, Metric, Run
from orl_explorer.db.people.actions import log_action
from orl_explorer.db.people.selections import keep_selection
from orl_explorer.db.people.tags import tag_pair, tag_photos
from orl_explorer.db.people.verdicts import judge_pair
from orl_explorer.db.photos import AnnotatedBox, FoundPhoto, add_photos, count_photos, ensure_dataset
from orl_explorer.db.runs.runs import add_metrics, add_run, runs, update_run
from orl_explorer.db.sets import manage
from orl_explorer.db.sets.comparison import TwoSets
from orl_explorer.db.store import Store, StoreError, open_store
from orl_explorer.db.transfer import copying
from orl_explorer.db.transfer.copying import copy_store, digests
from orl_explorer.train.mining.compared import compare_sets
from tests.conftest import Database
from tests.db.mined import add_set
from tests.postgres import PostgresServer

FOUND = {1: [(2, 0, 0), (2, 1, 1), (3, 0, 0)], 2: [(1, 1, 0)]}
COUNTS = {"image": 4, "roi": 5, "pair": 8, "run": 3, "tag": 2, "store_identity": 1, "set_comparison": 1}


def fill(store: Store) -> None:
    """Write rows with every kind of value, names that languages sort otherwise, and references in a circle."""
    ensure_dataset(store, "trip", "/photos", "folder")
    boxes = (AnnotatedBox("Zebra", 0.1, 1 / 3, 9, 9, difficult=True), AnnotatedBox("ant", 0, 0, 9, 9))
    add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 64, 48, boxes=boxes, digest=-(2**63)) for n in "bAü"], {})
    add_photos(store, 1, [FoundPhoto("b.jpg", 65, 48)], {"b.jpg": 1})
    count_photos(store, 1)
    for name in ("one", "two"):
        add_set(store, name, {1: 2, 2: 2, 3: 1}, FOUND)
    compare_sets(store, TwoSets(1, 2, 50))
    run = add_run(store, Run(kind="train", name="pupil ☂ 'quoted'", params={"b": [1, None, 0.1], "a": {"ü": True}}))
    add_metrics(store, run.id, [(1, "loss", 1e-300), (2, "loss", float("inf")), (1, "Loss", -0.0)])
    with store.session() as session:
        encoder = session.scalars(select(Encoder)).one()
        encoder.run_id = run.id
        session.get_one(Run, run.id).encoder_id = encoder.id
        session.add(Evaluation(run_id=run.id, encoder_id=encoder.id, protocol="knn", data="", params={}, summary={}))
    tag_photos(store, [1, 2], "night\nsky", "ann")
    tag_pair(store, 1, 3, "odd", "Bob")
    judge_pair(store, 1, 3, "good", "ann")
    keep_selection(store, 1, [3, 1])
    log_action(store, "ann", "add", "dataset trip")
    for row in runs(store):
        update_run(store, row.id, status="done", ended_at=datetime(2026, 1, 2, 3, 4, 5, 678901), pid_started_at=0.1)


@pytest.fixture
def other(database: Database, postgres: PostgresServer, tmp_path: Path) -> Iterator[URL]:
    """The address of an empty database of the other kind than the store's."""
    if database == "postgresql":
        yield URL.create("sqlite", database=str(tmp_path / "copy.sqlite"))
        return
    url = postgres.create()
    yield make_url(url)
    postgres.drop(url)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with rows, in the database of the test."""
    opened = open_store(os.environ.get("ORL_DATABASE_URL") or f"sqlite:///{tmp_path}/orl.sqlite")
    fill(opened)
    return opened


def test_a_copy_has_the_same_rows_and_goes_on_as_its_original_would(store: Store, other: URL) -> None:
    told: list[tuple[str, int, int]] = []
    copied = copy_store(store, other, lambda *said: told.append(said))
    assert {one.name for one in copied} == set(Base.metadata.tables)
    assert {one.name: one.rows for one in copied if one.name in COUNTS} == COUNTS
    made = open_store(other)
    assert digests(store) == copied == digests(made)
    assert made.identity == store.identity
    assert (told[-1][1], told[-1][0]) == (told[-1][2], "Checking verdict")
    photos = [FoundPhoto("new.jpg", 9, 9, boxes=(AnnotatedBox("cat", 0, 0, 1, 1),))]
    for one in (store, made):
        add_photos(one, 1, photos, {})
        add_run(one, Run(kind="mine", name="next", params={}))
    ids = [[session.scalars(select(t.id).order_by(t.id)).all() for t in (Annotation, Run)] for session in _open(made)]
    assert ids == [[[*range(1, 8)], [1, 2, 3, 4]]]
    made.close()


def _open(store: Store) -> Iterator:
    with store.session() as session:
        yield session


def test_a_copy_of_a_copy_is_the_store(store: Store, other: URL, tmp_path: Path, postgres: PostgresServer) -> None:
    copied = copy_store(store, other)
    back = f"sqlite:///{tmp_path}/back.sqlite" if store.engine.dialect.name == "sqlite" else postgres.create()
    between = open_store(other)
    assert copy_store(between, make_url(back)) == copied
    between.close()


def test_references_are_still_checked_in_a_copy(store: Store, other: URL) -> None:
    copy_store(store, other)
    made = open_store(other)
    with pytest.raises(StoreError, match="FOREIGN KEY|foreign key"), made.session() as session:
        session.execute(insert(Metric).values(run_id=99, name="loss", step=1, value=0))
    made.close()


def test_a_reference_to_nothing_is_not_copied(store: Store, other: URL) -> None:
    with store.engine.begin() as connection:
        if store.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("UPDATE pair SET key_roi_id = 99 WHERE set_id = 2 AND image_id = 2")
    said = "^The (table 'pair' refers to a missing row of 'roi'|set 'two' refers to a RoI that is not there)[.] Nothing"
    with pytest.raises(StoreError, match=said):
        copy_store(store, other)
    made = open_store(other)
    assert [table.rows for table in digests(made) if table.name in ("pair", "roi")] == [0, 0]
    made.close()


def test_a_database_with_rows_is_refused_and_left_alone(store: Store, other: URL) -> None:
    made = open_store(other)
    ensure_dataset(made, "mine", "/mine", "folder")
    before = digests(made)
    with pytest.raises(StoreError, match=r"is not empty: the table 'dataset' has rows\. Name an empty database\.$"):
        copy_store(store, other)
    assert digests(made) == before
    made.close()


def test_a_live_run_refuses_the_copy(store: Store, other: URL) -> None:
    update_run(store, 2, status="running")
    stop = r"Wait for it, or stop it with `orl runs stop 2`\."
    with pytest.raises(StoreError, match=rf"^Run 2 \(two\) is live\. {stop}$"):
        copy_store(store, other)
    assert other.get_backend_name() != "sqlite" or not Path(other.database or "").exists()
    update_run(store, 2, status="done")
    assert copy_store(store, other) == digests(store)


def test_a_value_that_changes_on_the_way_is_noticed(store: Store, other: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    write = copying.write_rows

    def damage(connection, table, columns, rows):  # type: ignore[no-untyped-def]
        if table.name == "metric":
            rows = [(*row[:-1], 0.0) for row in rows]
        write(connection, table, columns, rows)

    monkeypatch.setattr(copying, "write_rows", damage)
    with pytest.raises(StoreError, match="The copy of the table 'metric' differs: a value is not the same"):
        copy_store(store, other)
    monkeypatch.undo()
    assert copy_store(store, other) == digests(store)  # nothing of the first attempt is there


def test_nobody_writes_to_the_store_while_it_is_copied(
    store: Store, other: URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("orl_explorer.db.store.BUSY_TIMEOUT", 50)
    writer = open_store(store.engine.url)
    refusals: list[str] = []

    def report(doing: str, done: int, total: int) -> None:
        if done == total and not refusals:
            try:
                with writer.session() as session:
                    if writer.engine.dialect.name == "postgresql":
                        session.execute(text("SET lock_timeout = 50"))
                    session.execute(text("UPDATE run SET name = 'changed'"))
                refusals.append("")
            except StoreError as problem:
                refusals.append(str(problem))

    copy_store(store, other, report)
    assert len(refusals) == 1
    assert "lock" in refusals[0]
    writer.close()


KILLED = """
import sys, time
from sqlalchemy import make_url
from orl_explorer.db.transfer import copying
from orl_explorer.db.store import open_store

def report(doing, done, total):
    if doing.startswith("Checking run"):
        print("now", flush=True)
        time.sleep(60)

copying.copy_store(open_store(sys.argv[1]), make_url(sys.argv[2]), report)
"""


@pytest.mark.slow
def test_a_copy_that_is_killed_leaves_an_empty_database(store: Store, other: URL) -> None:
    addresses = [url.render_as_string(hide_password=False) for url in (store.engine.url, other)]
    process = subprocess.Popen([sys.executable, "-c", KILLED, *addresses], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = open_store(other)
    assert {one.name: one.rows for one in digests(made) if one.rows} == {"store_identity": 1}
    made.close()
    assert copy_store(store, other) == digests(store)


def test_a_set_whose_removal_was_interrupted_does_not_hinder_a_copy(
    store: Store, other: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(manage, "CHUNK", 1)
        patched.setattr(manage, "remove_rows", lambda store: manage._remove_some(store, 2))
        manage.delete_set(store, 2, "ann")
    copy_store(store, other)
    made = open_store(other)
    manage.remove_rows(made)
    with made.session() as session:
        assert session.scalars(select(CorrespondenceSet.id)).all() == [1]
    made.close()
