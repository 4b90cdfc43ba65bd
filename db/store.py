"""Opening the store: the engine, its pragmas, migrations, short sessions."""

from __future__ import annotations

import os
import shutil
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

from sqlalchemy import URL, Connection, Engine, Select, create_engine, event, insert, inspect, make_url, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session

from orl_explorer.db.identity import StoreIdentity

PAGES = 64 * 1024  # bytes; with fewer, SQLite cannot create its shared memory
BUSY_TIMEOUT = 30_000  # milliseconds a writer waits for another one
CACHE = 32 * 1024  # KiB of pages that a connection keeps: the upper levels of every table's tree
UNCHANGEABLE = "Cannot change the store: it was opened read-only."
LONGEST = 500  # bytes of a path that SQLite is sure to open: it refuses 512, with its own suffix
HEAD = "0013"  # newest revision under migrations/versions
MIGRATIONS = Path(__file__).with_name("migrations")
_UPGRADING = threading.Lock()  # Alembic keeps what it works on in globals


class StoreError(Exception):
    """An error of the store, with a message for the user."""


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
            raise store_trouble(error, self.engine.url.database) from error

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


def insert_rows(
    session: Session, model: type[DeclarativeBase], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert plain tuples, with columns in the order of the table: for millions of rows.

    The driver gets the tuples directly; SQLAlchemy's work per row would take longer than SQLite's.
    """
    if not rows:
        return
    connection = session.connection()
    statement = insert(model).compile(dialect=connection.dialect, column_keys=list(columns))
    if statement.positiontup is None:  # drivers with named parameters
        connection.exec_driver_sql(str(statement), [dict(zip(columns, row, strict=True)) for row in rows])
    else:
        assert statement.positiontup == list(columns), f"not the order of the table: {columns}"
        connection.exec_driver_sql(str(statement), list(rows))


def fetch(session: Session, question: Select[*tuple[Any, ...]], rows: int = 50_000) -> Iterator[Sequence[Any]]:
    """Yield the driver's plain tuples in blocks: for millions of rows."""
    cursor = session.connection().execute(question).cursor
    assert cursor is not None
    while block := cursor.fetchmany(rows):
        yield block


def store_trouble(error: DBAPIError, file: str | None = None) -> StoreError:
    """Return a message for an error of the database. file: of SQLite's, if it is one."""
    reason = str(error.orig)
    folder = Path(file).absolute().parent if file else None
    if "locked" in reason:
        return StoreError("The store is locked by another process. Try again when that process has finished.")
    # SQLite reports a full disk as an error of input and output if it cannot extend its shared memory.
    if "full" in reason or (("disk I/O" in reason or "unable to open" in reason) and _is_full(folder)):
        where = f"no space is left in {folder}" if folder else "the database's disk is full"
        return StoreError(f"Cannot write the store: {where}. Nothing was lost: free some space, then try again.")
    if "unable to open" in reason and file and len(os.fsencode(file)) > LONGEST:
        return StoreError(f"Cannot open the store {file}: its path is too long for SQLite. Choose another workspace.")
    if "readonly" in reason or "unable to open" in reason:
        return StoreError(f"Cannot write the store: {reason}.")
    if "locking protocol" in reason:
        return StoreError(f"The disk of {folder} cannot lock files. Choose a workspace on a disk of this machine.")
    if isinstance(error, IntegrityError) and ("UNIQUE" in reason or "duplicate key" in reason):
        return StoreError("Another process has stored the same at this moment. Run the command again.")
    return StoreError(f"The database reported an error: {reason}.")


def _is_full(folder: Path | None) -> bool:
    return folder is not None and folder.is_dir() and shutil.disk_usage(folder).free < PAGES


def open_store(url: str | URL, read_only: bool = False) -> Store:
    """Open a store by SQLAlchemy URL, creating or upgrading its tables as needed.

    A read-only store is neither created nor upgraded, and its connections cannot write; its disk may be read-only.
    Raises StoreError if the store was written by a newer version or cannot be opened.
    """
    engine = create_engine(_immutable(url), connect_args=_refusing_writes(url)) if read_only else create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        if engine.url.query.get("immutable") is None:
            event.listen(engine, "connect", _switch_to_wal)
        if read_only:
            event.listen(engine, "connect", _forbid_writing)
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
        if isinstance(error, OperationalError) or engine.dialect.name == "sqlite":
            raise store_trouble(error, engine.url.database) from error
        raise
    return Store(engine, read_only)


def _immutable(url: str | URL) -> URL:
    """Return the URL for a SQLite file on a read-only disk, where SQLite cannot create its lock files.

    Raises StoreError if a part of the store is still in its write-ahead log.
    """
    parts = make_url(url)
    path = parts.database
    if parts.get_backend_name() != "sqlite" or not path or not Path(path).is_file() or not _on_read_only_disk(path):
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
    try:
        named = make_url(given)
        named.get_dialect()
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            "Invalid value for ORL_DATABASE_URL. Use an address such as postgresql+psycopg://user:password@host/orl."
        ) from error
    return named


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


def _refusing_writes(url: str | URL) -> dict[str, str]:
    """Return what makes every session of PostgreSQL read-only from its start, after the options given by the user.

    A statement on a new connection would not do: it belongs to a transaction, which the pool rolls back.
    """
    parts = make_url(url)
    if parts.get_backend_name() != "postgresql":
        return {}
    given = parts.normalized_query.get("options") or (os.environ.get("PGOPTIONS", ""),)
    return {"options": " ".join((*given, "-c default_transaction_read_only=on")).strip()}


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
