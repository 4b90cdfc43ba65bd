"""Opening the store: creating, upgrading and refusing it, and a locked store."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError

from orl_explorer.db import store as store_module
from orl_explorer.db.marks import Tag
from orl_explorer.db.models import Base, Dataset
from orl_explorer.db.photos import datasets, ensure_dataset
from orl_explorer.db.runs.runs import runs
from orl_explorer.db.store import HEAD, Store, StoreError, open_store, sqlite_url, store_trouble

pytestmark = pytest.mark.sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orl.sqlite"


NEWER = [  # what the revisions after the first one added, undone
    "ALTER TABLE pair DROP COLUMN margin",
    "ALTER TABLE pair DROP COLUMN cycle",
    "ALTER TABLE correspondence_set DROP COLUMN quality",
    "ALTER TABLE candidate DROP COLUMN objectness",
    "ALTER TABLE dataset DROP COLUMN categories",
    "ALTER TABLE dataset DROP COLUMN revision",
    "DROP INDEX ix_annotation_category",
    "DROP TABLE image_comparison",
    "DROP TABLE set_comparison",
    "DROP TABLE dataset_member",
    "DROP TABLE probe_pair",
    "DROP TABLE evaluation_value",
    "DROP TABLE evaluation",
    "ALTER TABLE dataset DROP COLUMN marks",
    "ALTER TABLE set_image DROP COLUMN cycle_share",
    "ALTER TABLE set_image DROP COLUMN mean_margin",
    "DROP TABLE tag",
    "DROP TABLE pair_tag",
    "DROP TABLE selection",
    "DROP TABLE deleted_set",
    "DROP TABLE store_identity",
    "ALTER TABLE image DROP COLUMN digest",
    "ALTER TABLE dataset DROP COLUMN gone_count",
    "ALTER TABLE dataset DROP COLUMN last_ingest",
    "DROP TABLE finding",
    "DROP TABLE action",
    "ALTER TABLE run DROP COLUMN launcher",
    "ALTER TABLE run DROP COLUMN handle",
    "ALTER TABLE run DROP COLUMN nodes",
    "ALTER TABLE run DROP COLUMN processes",
    "ALTER TABLE run DROP COLUMN kill_asked",
    "ALTER TABLE encoder DROP COLUMN reading",
    "ALTER TABLE run DROP COLUMN note",
    "ALTER TABLE run DROP COLUMN tags",
]


def opened(path: Path) -> Store:
    return open_store(f"sqlite:///{path}")


def differences(store: Store) -> list:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert Tag.metadata is Base.metadata  # imported, so that its tables are compared too
        return compare_metadata(context, Base.metadata)


def test_a_new_store_has_exactly_the_tables_of_the_models(path: Path) -> None:
    assert differences(opened(path)) == []


def test_the_comparison_would_see_a_missing_column(path: Path) -> None:
    store = opened(path)
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE dataset DROP COLUMN layout"))
    assert len(differences(store)) == 1


def test_the_newest_revision_is_the_one_that_the_code_names() -> None:
    revisions = [p.stem.split("_")[0] for p in (store_module.MIGRATIONS / "versions").glob("[0-9]*.py")]
    assert max(revisions) == HEAD


@pytest.mark.parametrize("made_before", ["an empty file", "an empty version table"])
def test_a_store_from_before_the_first_revision_is_upgraded(path: Path, made_before: str) -> None:
    path.touch()
    if made_before == "an empty version table":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    store = opened(path)
    assert differences(store) == []
    ensure_dataset(store, "trip", "/photos", "folder")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


def test_a_store_of_the_first_version_keeps_its_rows_and_gets_the_new_columns(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as connection:
        for change in NEWER:
            connection.execute(change)
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("INSERT INTO dataset VALUES (1, 'trip', '/photos', 'folder', '2026-01-01', 2, 0, 3)")
        for image, old in ((1, None), (2, None), (3, 3)):
            row = (image, 1, f"{image}.jpg", 64, 48, 1, "ok", None, 9, 9, old)
            connection.execute("INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        for image, category in ((1, "dog"), (1, "dog"), (2, "dog"), (2, "cat"), (3, "cat")):
            connection.execute(
                "INSERT INTO annotation (image_id, category, x, y, w, h, difficult) VALUES (?, ?, 0, 0, 9, 9, 0)",
                (image, category),
            )
        connection.execute("INSERT INTO pair VALUES (1, 2, 3, 4, 5, 6, 0.5)")
        connection.execute("INSERT INTO set_image VALUES (1, 2, 9, 3, 0, 1, 0.5)")
    store = opened(path)
    assert differences(store) == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT * FROM pair").fetchall() == [(1, 2, 3, 4, 5, 6, 0.5, None, None)]
        assert connection.execute("SELECT * FROM set_image").fetchall() == [(1, 2, 9, 3, 0, 1, 0.5, None, None)]
    (dataset,) = datasets(store)
    assert dataset.categories == {"cat": 1, "dog": 2}
    assert dataset.revision == 0


def test_images_of_older_sets_get_what_mining_says_of_their_pairs_by_now(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as connection:
        for change in NEWER[NEWER.index("DROP TABLE probe_pair") + 1 :]:
            connection.execute(change)
        connection.execute("UPDATE alembic_version SET version_num = '0006'")
        connection.execute("PRAGMA foreign_keys = OFF")
        for image, count in ((2, 3), (3, 1), (4, 0)):
            connection.execute("INSERT INTO set_image VALUES (1, ?, 9, 3, 0, ?, 0.5)", (image, count))
        for image, rank, margin, cycle in ((2, 1, 0.5, 1), (2, 2, None, 0), (2, 3, 0.25, 1), (3, 1, None, None)):
            connection.execute("INSERT INTO pair VALUES (1, ?, 1, ?, 5, 6, 0.5, ?, ?)", (image, rank, margin, cycle))
    opened(path).close()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT image_id, cycle_share, mean_margin FROM set_image").fetchall()
    assert rows == [(2, pytest.approx(2 / 3), 0.375), (3, None, None), (4, None, None)]


def test_opening_again_keeps_what_is_there(path: Path) -> None:
    ensure_dataset(opened(path), "trip", "/photos", "folder")
    assert [d.name for d in datasets(opened(path))] == ["trip"]


def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"written by a newer version of ORL Explorer \(revision 9999"):
        opened(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_a_file_that_is_no_store_is_refused_with_a_sentence(path: Path) -> None:
    path.write_bytes(b"to whom it may concern " * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        opened(path)


def test_a_folder_that_is_not_there_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"Cannot write the store: .*unable to open database file"):
        opened(tmp_path / "nowhere" / "orl.sqlite")


def test_every_connection_is_prepared(path: Path) -> None:
    with opened(path).session() as session:
        pragmas = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_store_on_a_read_only_disk_is_read_without_a_file_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path.with_name("a b#c.sqlite")  # a name that means something else in a URL
    store = open_store(f"sqlite:///{path.with_name('plain.sqlite')}")
    ensure_dataset(store, "trip", "/photos", "folder")
    store.close()
    path.with_name("plain.sqlite").rename(path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    shown = open_store(f"sqlite:///{path}", read_only=True)
    with shown.session() as session:
        assert [row.name for row in session.query(Dataset)] == ["trip"]
        assert [p.name for p in path.parent.iterdir()] == [path.name]  # no -wal, no -shm
    with pytest.raises(StoreError, match="Cannot change the store"):
        ensure_dataset(shown, "other", "/photos", "folder")
    shown.close()


def test_a_part_of_the_store_that_a_read_only_disk_cannot_take_in_is_not_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(path)
    ensure_dataset(store, "trip", "/photos", "folder")
    assert path.with_name("orl.sqlite-wal").stat().st_size > 0
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(StoreError, match=r"The newest part of this store is in orl\.sqlite-wal, and this disk"):
        open_store(f"sqlite:///{path}", read_only=True)


def test_a_session_that_fails_leaves_nothing_behind(path: Path) -> None:
    store = opened(path)
    with pytest.raises(ZeroDivisionError), store.session() as session:
        session.add(Dataset(name="trip", root="/photos", layout="folder"))
        session.flush()
        raise ZeroDivisionError
    assert datasets(store) == []


def test_a_locked_store_says_so_in_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 50)
    store = opened(path)
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match=r"^The store is locked by another process. Try again when"):
            ensure_dataset(store, "trip", "/photos", "folder")
        assert datasets(store) == []  # reading goes on
    finally:
        other.rollback()
        other.close()
    ensure_dataset(store, "trip", "/photos", "folder")


def test_a_writer_waits_for_another_one(path: Path) -> None:
    store = opened(path)
    other = sqlite3.connect(path, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.rollback)
    release.start()
    ensure_dataset(store, "trip", "/photos", "folder")
    release.join()
    other.close()
    assert [d.name for d in datasets(store)] == ["trip"]


@pytest.mark.parametrize("attempt", range(10))
def test_threads_may_open_a_new_store_at_once(path: Path, attempt: int) -> None:
    barrier = threading.Barrier(4)
    failures: list[Exception] = []

    def open_it() -> None:
        barrier.wait()
        try:
            opened(path).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert differences(opened(path)) == []


def test_a_process_that_was_quicker_with_the_upgrade_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(path).close()
    monkeypatch.setattr(store_module, "_revision", lambda _: None)  # as it was a moment ago
    assert datasets(opened(path)) == []


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.touch()
    monkeypatch.setattr("alembic.op.batch_alter_table", lambda *_, **__: 1 // 0)  # the third step or so
    with pytest.raises(ZeroDivisionError):
        opened(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    monkeypatch.undo()
    assert differences(opened(path)) == []


def test_another_database_can_be_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORL_DATABASE_URL", raising=False)
    assert sqlite_url(Path("/here/orl.sqlite")) == make_url("sqlite:////here/orl.sqlite")
    monkeypatch.setenv("ORL_DATABASE_URL", "postgresql+psycopg://host/orl")
    assert sqlite_url(Path("/here/orl.sqlite")) == make_url("postgresql+psycopg://host/orl")


@pytest.mark.parametrize("name", ["which?", "50%20off", "a#b", "a&b=c;d", "[x] y", "ünï-🐱"])
def test_a_store_is_in_its_folder_whatever_the_name_means_in_a_url(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for read_only in (False, True):
        store = open_store(sqlite_url(folder / "orl.sqlite"), read_only)
        assert store.engine.url.database == str(folder / "orl.sqlite")
        store.close()
    assert [found.name for found in tmp_path.iterdir()] == [name]
    assert (folder / "orl.sqlite").is_file()


def test_a_path_that_is_too_long_for_sqlite_says_so(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 200) / ("e" * 200) / ("f" * 200)
    folder.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"its path is too long for SQLite\. Choose another workspace\.$"):
        open_store(sqlite_url(folder / "orl.sqlite"))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("locking protocol", "The disk of /here cannot lock files. Choose a workspace on a disk of this machine."),
        ("UNIQUE constraint failed: a.b", "Another process has stored the same at this moment. Run the command again."),
        ("NOT NULL constraint failed: a.b", "The database reported an error: NOT NULL constraint failed: a.b."),
    ],
)
def test_an_error_of_the_database_is_a_sentence(said: str, sentence: str) -> None:
    kind = IntegrityError if "constraint" in said else OperationalError
    assert str(store_trouble(kind("", None, Exception(said)), make_url("sqlite:////here/orl.sqlite"))) == sentence


def test_runs_of_an_earlier_version_that_were_lost_are_crashed(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "orl.sqlite")
    open_store(url).close()
    with closing(sqlite3.connect(tmp_path / "orl.sqlite")) as connection:
        for change in NEWER[NEWER.index("ALTER TABLE dataset DROP COLUMN gone_count") :]:
            connection.execute(change)
        connection.execute("UPDATE alembic_version SET version_num = '0009'")
        connection.execute(
            "INSERT INTO run (id, kind, name, status, params, device, host, created_at, log_path, phase, progress,"
            " total) VALUES (1, 'mine', 'a', 'lost', '{}', 'cpu', '', '2026-01-01', '', '', 0, 0),"
            " (2, 'mine', 'b', 'failed', '{}', 'cpu', '', '2026-01-01', '', '', 0, 0)"
        )
        connection.commit()
    store = open_store(url)
    assert [(run.id, run.status) for run in runs(store)] == [(2, "failed"), (1, "crashed")]
    store.close()
