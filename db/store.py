"""Opening the store: the engine, its pragmas, migrations, short sessions."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Select,
    String,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.functions import FunctionElement

from orl_explorer.db.identity import StoreIdentity
from orl_explorer.db.postgresql import copy_rows, postgresql_engine, stream_rows
from orl_explorer.db.trouble import StoreError as StoreError
from orl_explorer.db.trouble import store_trouble

BUSY_TIMEOUT = 30_000  # milliseconds a writer waits for another one
CACHE = 32 * 1024  # KiB of pages that a connection keeps: the upper levels of every table's tree
EXAMPLE = "postgresql+psycopg://user:password@host/orl"
UNCHANGEABLE = "Cannot change the store: it was opened read-only."
HEAD = "0017"  # newest revision under migrations/versions
MIGRATIONS = Path(__file__).with_name("migrations")
_UPGRADING = threading.Lock()  # Alembic keeps what it works on in globals


class Identified(Protocol):
    """A row with an id and a time of creation."""

    @property
    def id(self) -> int:
        """Its key."""

    @property
    def created_at(self) -> datetime:
        """Time of creation, UTC."""


class Store:
    """A handle on the store. Threads can share it, since every call opens its own short session."""

    def __init__(self, engine: Engine, read_only: bool = False) -> None:
        """Wrap an engine. read_only: the database refuses writes, see ``open_store``."""
        self.engine, self.read_only = engine, read_only

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a transaction: committed at the end of the block, rolled back if it raises."""
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except DBAPIError as error:
            if self.read_only and ("readonly" in str(error.orig) or "read-only" in str(error.orig)):
                raise StoreError(UNCHANGEABLE) from error
            raise store_trouble(error, self.engine.url) from error

    def refuse_read_only(self) -> None:
        """Raise StoreError if the store is read-only: before something outside the store is changed."""
        if self.read_only:
            raise StoreError(UNCHANGEABLE)

    @cached_property
    def identity(self) -> str:
        """The unique identity of the store, 32 hex digits. Copies and backups share it."""
        with self.session() as session:
            return session.scalars(select(StoreIdentity.identity)).one()

    def which(self, row: Identified) -> str:
        """Return a unique name of a row. Its id alone may occur again in another store or after a restored backup."""
        return f"{self.identity} {row.id} {row.created_at.isoformat()}"

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class in_byte_order(FunctionElement[str]):
    """A text column to sort by: in the order of its UTF-8 bytes, whatever language the database sorts by."""

    type = String()
    name = "in_byte_order"
    inherit_cache = True


@compiles(in_byte_order)
def _as_it_is(element: Any, compiler: Any, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(in_byte_order, "postgresql")
def _collated(element: Any, compiler: Any, **options: Any) -> str:
    return f'{compiler.process(element.clauses, **options)} COLLATE "C"'


def lock_writers_out(session: Session, model: type[DeclarativeBase]) -> None:
    """Let no other session write to a table until this one ends: between looking for a free key and using it.

    SQLite lets one session write at a time, from its first change on.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"LOCK TABLE {model.__tablename__} IN SHARE ROW EXCLUSIVE MODE"))
    else:
        session.execute(text(f"DELETE FROM {model.__tablename__} WHERE 0"))


def insert_rows(
    session: Session, model: type[DeclarativeBase], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert plain tuples, with columns in the order of the table: for millions of rows."""
    if rows:
        assert isinstance(model.__table__, Table)
        write_rows(session.connection(), model.__table__, columns, rows)


def write_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert plain tuples as the driver takes them, with columns in the order of the table.

    SQLAlchemy's work per row would take longer than the database's.
    """
    ordered = [column.name for column in table.columns if column.name in columns]
    assert ordered == list(columns), f"not the order of the table: {columns}"
    if connection.dialect.name == "postgresql":
        copy_rows(connection, table, columns, rows)
    else:
        statement = insert(table).compile(dialect=connection.dialect, column_keys=list(columns))
        connection.exec_driver_sql(str(statement), list(rows))


def fetch(session: Session, question: Select[*tuple[Any, ...]], rows: int = 50_000) -> Iterator[Sequence[Any]]:
    """Yield the driver's plain tuples in blocks: for millions of rows, which are never in memory at once."""
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        yield from stream_rows(connection, question, rows)
        return
    cursor = connection.execute(question).cursor
    assert cursor is not None
    while block := cursor.fetchmany(rows):
        yield block


def fetch_all(session: Session, question: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    """Return the driver's plain tuples at once: for as many rows as some photos have. On PostgreSQL, one message."""
    cursor = session.connection().execute(question).cursor
    assert cursor is not None
    return cursor.fetchall()


def open_store(url: str | URL, read_only: bool = False) -> Store:
    """Open a store by SQLAlchemy URL, creating or upgrading its tables as needed.

    A read-only store is neither created nor upgraded, and its connections cannot write; its disk may be read-only.
    Raises StoreError if the store was written by a newer version or cannot be opened.
    """
    engine = _engine(make_url(url), read_only)
    try:
        revision = _revision(engine)
        if read_only and not _refuses_writes(engine):
            raise StoreError(
                "Cannot open the store read-only: its database accepts writes. "
                "Let it refuse them by ALTER ROLE … SET default_transaction_read_only = on."
            )
        if revision != HEAD:
            if read_only and revision is None:
                raise StoreError("There is no store to open read-only. Create it by opening it once for writing.")
            _upgrade(engine, revision, dry=read_only)
    except DBAPIError as error:
        engine.dispose()
        raise store_trouble(error, engine.url) from error
    return Store(engine, read_only)


def _engine(url: URL, read_only: bool) -> Engine:
    """Return the engine of a database. Raises StoreError if the package that speaks to it is not installed."""
    if url.get_backend_name() == "postgresql":
        try:
            return postgresql_engine(url, read_only)
        except ModuleNotFoundError as error:
            raise StoreError(
                f"A store in PostgreSQL needs the package {error.name}. Install it with: "
                "pip install 'orl-explorer[postgres]'"
            ) from error
    engine = create_engine(_immutable(url) if read_only else url)
    event.listen(engine, "connect", _prepare_sqlite)
    if engine.url.query.get("immutable") is None:
        event.listen(engine, "connect", _switch_to_wal)
    if read_only:
        event.listen(engine, "connect", _forbid_writing)
    return engine


def _immutable(url: URL) -> URL:
    """Return the URL for a SQLite file on a read-only disk, where SQLite cannot create its lock files.

    Raises StoreError if a part of the store is still in its write-ahead log.
    """
    parts = url
    path = parts.database
    if not path or not Path(path).is_file() or not _on_read_only_disk(path):
        return parts
    pending = Path(f"{path}-wal")
    if pending.is_file() and pending.stat().st_size:
        raise StoreError(
            f"The newest part of this store is in {pending.name}, and this disk is read-only. "
            "Open the store once on a writable disk, then copy it."
        )
    return URL.create(parts.drivername, database=f"file:{quote(path)}", query={"immutable": "1", "uri": "true"})


def _on_read_only_disk(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def sqlite_url(path: Path) -> URL:
    """Return the URL of a SQLite file, unless ``ORL_DATABASE_URL`` names another database.

    Raises StoreError, without the password in it, if the variable holds no such URL.
    """
    given = os.environ.get("ORL_DATABASE_URL")
    if not given:
        return URL.create("sqlite", database=str(path))  # whatever ? and % are in the path
    named = database_url(given)
    if named is None:
        raise StoreError(f"Invalid value for ORL_DATABASE_URL. Use an address such as {EXAMPLE}.")
    return named


def database_url(given: str) -> URL | None:
    """Return the address of a database that can hold a store, with its driver; None for any other text."""
    try:
        url = make_url(given)
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (ArgumentError, ValueError):
        return None
    return url if url.get_backend_name() in ("sqlite", "postgresql") else None


def _prepare_sqlite(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA cache_size = -{CACHE}")
    cursor.close()


def _forbid_writing(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()


def _refuses_writes(engine: Engine) -> bool:
    """Return whether a connection as the pool hands it out refuses writes. A proxy may drop the session's options."""
    asked = {"sqlite": "PRAGMA query_only", "postgresql": "SHOW transaction_read_only"}
    with engine.connect() as connection:
        return str(connection.execute(text(asked[engine.dialect.name])).scalar()) in ("1", "on")


def _switch_to_wal(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    # SQLite ignores the busy timeout here: two processes that open a new store at once would both fail.
    deadline = time.monotonic() + BUSY_TIMEOUT / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.close()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return _revision_seen_by(connection)


def _revision_seen_by(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: Engine, revision: str | None, dry: bool = False) -> None:
    # Alembic is slow to import, and an up-to-date store does not need it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    if revision is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError as error:
            raise StoreError(
                f"This store was written by a newer version of ORL Explorer (revision {revision}, "
                f"this version knows up to {HEAD}). Upgrade ORL Explorer to open it."
            ) from error
    if dry:
        raise StoreError(f"This store is of an older version (revision {revision}). Open it once for writing first.")
    with _UPGRADING, engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python would begin a transaction at the first INSERT only, with the tables already half made.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        if _revision_seen_by(connection) != HEAD:  # else another process was faster
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
