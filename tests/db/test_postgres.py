"""A store in PostgreSQL: what it refuses, what its errors say, and what the documents tell to do."""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from orl_explorer.db import postgresql
from orl_explorer.db.models import Dataset, Roi
from orl_explorer.db.photos import FoundPhoto, add_photos, datasets, ensure_dataset, image_by_id
from orl_explorer.db.runs.runs import find_run
from orl_explorer.db.sets.write import CandidateRows, add_candidates
from orl_explorer.db.store import StoreError, open_store
from tests.db.mined import add_set
from tests.postgres import EMPTY, PostgresServer, postgres_programs
from tests.shell import orl

pytestmark = pytest.mark.sqlite  # not once more for each database


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """An address of a store with a dataset."""
    made = postgres.create(EMPTY)
    store = open_store(made)
    ensure_dataset(store, "trip", "/photos", "folder")
    store.close()
    yield made
    postgres.drop(made)


def test_a_store_opened_read_only_refuses_writes(url: str) -> None:
    shown = open_store(url, read_only=True)
    for _ in range(2):  # also on a connection that the pool has taken back
        with (
            pytest.raises(StoreError, match=r"^Cannot change the store: it was opened read-only\.$"),
            shown.session() as s,
        ):
            s.add(Dataset(name="other", root="/photos", layout="folder"))
    assert [row.name for row in datasets(shown)] == ["trip"]
    shown.close()


def test_options_of_the_url_and_the_environment_are_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=5MB")
    for given, memory in ((url, "5MB"), (f"{url}&options=-c%20work_mem%3D7MB", "7MB")):
        shown = open_store(given, read_only=True)
        with shown.session() as session:
            settings = [session.scalar(text(f"SHOW {name}")) for name in ("work_mem", "transaction_read_only")]
        assert settings == [memory, "on"]
        shown.close()


def test_a_server_that_drops_the_setting_is_not_opened(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "refusing_writes", lambda _: {})  # as a pooler may
    with pytest.raises(StoreError, match=r"^Cannot open the store read-only: its database accepts writes\. Let it "):
        open_store(url, read_only=True)


def test_the_role_of_the_documents_reads_everything_and_writes_nothing(url: str) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    owner = open_store(url)
    with owner.engine.begin() as connection:
        for statement in block.replace("DATABASE orl", "DATABASE postgres").split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        connection.exec_driver_sql("CREATE TABLE later (id integer)")
    reader = url.replace("//orl@", "//orl_reader@")
    shown = open_store(reader, read_only=True)
    assert [dataset.name for dataset in datasets(shown)] == ["trip"]
    with shown.engine.connect() as connection:
        tables = (
            connection.exec_driver_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").scalars().all()
        )
        assert {"action", "later"} <= set(tables)
        for table in tables:
            connection.exec_driver_sql(f'SELECT count(*) FROM "{table}"')
    with shown.engine.connect() as connection:
        connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")  # a session may lift it
        connection.commit()
        with pytest.raises(DBAPIError, match="permission denied"):
            connection.exec_driver_sql("INSERT INTO tag VALUES (1, 'x', 'y', now())")
    shown.close()
    owner.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("orl:wrong@127.0.0.1:{port}/postgres", "refuses the connection: password authentication failed for user"),
        ("orl:s3cret@127.0.0.1:{port}/none", 'has no such database: database "none" does not exist. Create it first.'),
        ("orl:s3cret@127.0.0.1:{closed}/postgres", "cannot be reached: Connection refused. Check its address."),
        ("orl:s3cret@no-such-host.invalid/postgres", "cannot be reached: "),
        ("orl:s3cret@127.0.0.1:{port}/postgres?nonsense=1", "nonsense"),
    ],
)
def test_a_server_that_does_not_let_one_in_is_one_sentence(
    listening: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    port, closed = listening
    monkeypatch.setenv("ORL_DATABASE_URL", f"postgresql://{given.format(port=port, closed=closed)}")
    ended = orl("runs", "--workspace", tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in " ".join(ended.stderr.split())
    assert "s3cret" not in ended.stderr and "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[int, int]]:
    """The port of a server that asks for the password ``s3cret``, and a port at which nobody listens."""
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = probe.getsockname()[1], other.getsockname()[1]
    server = PostgresServer(postgres_programs(), port=ports[0])
    try:
        server.ask("ALTER ROLE orl PASSWORD 's3cret'")
        yield ports
    finally:
        server.stop()


def test_a_password_that_is_right_opens_the_store(
    listening: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORL_DATABASE_URL", f"postgres://orl:s3cret@127.0.0.1:{listening[0]}/postgres")
    assert "No runs yet" in orl("runs", "--workspace", tmp_path).stdout


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_DATABASE_URL", "postgresql+psycopg://orl@localhost/orl")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    ended = orl("runs", "--workspace", tmp_path)
    assert ended.returncode == 2
    assert " ".join(ended.stderr.split()) == (
        "A store in PostgreSQL needs the package psycopg. Install it with: pip install 'orl-explorer[postgres]'"
    )


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_hold_every_name_is_refused_with_what_to_do(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    postgres.ask(f"CREATE DATABASE named TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'")
    monkeypatch.setenv("ORL_DATABASE_URL", postgres.url("named"))
    ended = orl("runs", "--workspace", tmp_path)
    postgres.drop(postgres.url("named"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert " ".join(ended.stderr.split()) == (
        f"The database 'named' has the encoding {encoding}, which does not hold every name. "
        "Create it with UTF8: createdb --encoding=UTF8 --template=template0 named"
    )


def test_names_are_kept_whatever_encoding_the_environment_asks_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    store = open_store(url)
    ensure_dataset(store, "☂ ü", "/photos", "folder")
    assert [row.name for row in datasets(store)] == ["trip", "☂ ü"]
    store.close()


def test_reads_are_one_message_each_and_a_transaction_begins_with_its_first_change(url: str) -> None:
    store = open_store(url)
    with store.session() as session:
        raw = session.connection().connection.dbapi_connection
        session.scalars(select(Dataset)).all()
        before = raw.info.transaction_status  # type: ignore[union-attr]
        session.add(Dataset(name="other", root="/photos", layout="folder"))
        session.flush()
        assert (before, raw.info.transaction_status) == (0, 2)  # type: ignore[union-attr]
        session.rollback()
    assert [row.name for row in datasets(store)] == ["trip"]
    with store.session() as session:
        session.scalar(select(func.pg_advisory_xact_lock(7)))  # held until the end of the session
        [held] = session.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).one()
        assert held == 1
    store.close()


def test_rows_of_a_set_have_no_foreign_keys_also_in_a_store_of_an_older_version(url: str) -> None:
    store = open_store(url)
    key = "ALTER TABLE pair ADD CONSTRAINT fk_pair_key_roi_id_roi FOREIGN KEY (key_roi_id) REFERENCES roi (id)"
    with store.engine.begin() as connection:
        connection.exec_driver_sql(key)
        for column in ("encoder DROP COLUMN reading", "run DROP COLUMN note", "run DROP COLUMN tags"):
            connection.exec_driver_sql(f"ALTER TABLE {column}")  # which later revisions added
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0013'")
    store.close()
    store = open_store(url)
    with store.session() as session:
        found = inspect(session.connection())
        keys = {table: len(found.get_foreign_keys(table)) for table in ("neighbor", "candidate", "pair", "set_image")}
    assert keys == {"neighbor": 0, "candidate": 0, "pair": 0, "set_image": 2}
    store.close()


def test_a_number_that_no_column_holds_is_not_found(url: str) -> None:
    store = open_store(url)
    assert image_by_id(store, 99_999_999_999) is None
    assert find_run(store, 2**40) is None
    store.close()


def test_two_runs_that_find_the_same_boxes_at_once_share_them(url: str) -> None:
    store = open_store(url)
    add_photos(store, 1, [FoundPhoto(f"{n}.jpg", 640, 480) for n in range(8)], {})
    made = [add_set(store, name, {1: 1}, {}, publish=False) for name in ("one", "two", "three")]
    boxes = np.array([[n, 0, 9, 9] for n in range(40)], np.int16)
    barrier, failures = threading.Barrier(len(made)), list[Exception]()

    def write(set_id: int) -> None:
        barrier.wait()
        try:
            for image in range(2, 9):
                add_candidates(store, set_id, [CandidateRows(image, boxes, 50, False)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(set_id,)) for set_id in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.session() as session:
        assert session.scalar(select(func.count()).select_from(Roi)) == 1 + 7 * 40
    store.close()
