"""Copying a whole store into an empty database, of SQLite or PostgreSQL, with a proof that every row is the same.

Tables and columns are those of the metadata, so a new one needs no change here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, DateTime, String, Table, delete, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import JSON

from orl_explorer.db import marks, models
from orl_explorer.db.base import Base
from orl_explorer.db.identity import StoreIdentity
from orl_explorer.db.postgresql import begin
from orl_explorer.db.runs.runs import LIVE
from orl_explorer.db.sets.check import lost_reference
from orl_explorer.db.sets.read import DELETED
from orl_explorer.db.store import Store, StoreError, in_byte_order, open_store, store_trouble, write_rows

BLOCK = 5000  # rows in memory at once
OWN = "store_identity"  # the one table of a new store that has a row
assert models and marks  # whose tables the metadata has

Report = Callable[[str, int, int], None]  # what is done, rows done of all tables, and their total


@dataclass(frozen=True)
class CopiedTable:
    """A table that was copied: its number of rows, and their digest in the order of their keys."""

    name: str
    rows: int
    digest: str


def copy_store(source: Store, url: URL, report: Report = lambda doing, done, total: None) -> list[CopiedTable]:
    """Copy all rows, with their ids, into an empty database, in one transaction. Writers to the source wait meanwhile.

    The copy has the identity of the source, as a backup has. Raises StoreError, and leaves the target without rows, if
    a run of the source is live, the target holds rows, or a table would not be the same.
    """
    with source.session() as session:
        _refuse_live(session.connection())  # before anything is created
    _refuse_rows(url)
    target = open_store(url)
    try:
        with _unchanging(source) as old, _filled(target) as new:
            _refuse_live(old)
            counts = {table.name: old.scalar(select(func.count()).select_from(table)) or 0 for table in _tables()}
            total, done, copied = 2 * sum(counts.values()), 0, []
            new.execute(delete(StoreIdentity))
            for table in _tables():
                tally = _Tally()
                for block in _blocks(old, table):
                    _write(new, table, block)
                    tally.add(block)
                    done += len(block)
                    report(f"Copying {table.name}", done, total)
                copied.append(CopiedTable(table.name, tally.rows, tally.digest))
            for table, own in zip(_tables(), copied, strict=True):
                found = _Tally()
                for block in _blocks(new, table):
                    found.add(block)
                    done += len(block)
                    report(f"Checking {table.name}", done, total)
                if (found.rows, found.digest) != (own.rows, own.digest):
                    raise StoreError(_differs(table.name, own.rows, found.rows))
        return copied
    except DBAPIError as error:
        raise store_trouble(error, target.engine.url) from error
    finally:
        target.close()


def digests(store: Store) -> list[CopiedTable]:
    """Return the number of rows of each table and their digest: equal for equal stores, on whatever database."""
    found = []
    with store.session() as session:
        for table in _tables():
            tally = _Tally()
            for block in _blocks(session.connection(), table):
                tally.add(block)
            found.append(CopiedTable(table.name, tally.rows, tally.digest))
    return found


def _tables() -> list[Table]:
    return [Base.metadata.tables[name] for name in sorted(Base.metadata.tables)]


def _differs(table: str, rows: int, found: int) -> str:
    count = f"{found} of {rows} rows arrived" if rows != found else "a value is not the same in the other database"
    return f"The copy of the table '{table}' differs: {count}. Nothing was copied."


def _refuse_rows(url: URL) -> None:
    """Raise StoreError if a database holds rows of a store. Rows of other programs do not matter."""
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
        return
    target = open_store(url)
    try:
        with target.session() as session:
            names = set(inspect(session.connection()).get_table_names())
            for table in _tables():
                if table.name != OWN and table.name in names and session.execute(select(table).limit(1)).first():
                    shown = url.render_as_string(hide_password=True)
                    raise StoreError(
                        f"{shown} is not empty: the table '{table.name}' has rows. Name an empty database."
                    )
    finally:
        target.close()


def _refuse_live(old: Connection) -> None:
    run = models.Run
    live = old.execute(select(run.id, run.name).where(run.status.in_(LIVE)).order_by(run.id)).first()
    if live is not None:
        raise StoreError(
            f"Run {live.id} ({live.name}) is live. Wait for it, or stop it with `orl runs stop {live.id}`."
        )


class _Tally:
    """Counts rows and digests them, in the order in which they come."""

    def __init__(self) -> None:
        self.rows, self._hash = 0, blake2b(digest_size=16)

    def add(self, block: Sequence[tuple[Any, ...]]) -> None:
        """Add some rows. Python's notation of a number or text is exact."""
        self.rows += len(block)
        shown = "".join(map(repr, block))
        for end in ",)":  # SQLite keeps no sign of a zero
            shown = shown.replace(f"-0.0{end}", f"0.0{end}")
        self._hash.update(shown.encode("utf-8", "backslashreplace"))

    @property
    def digest(self) -> str:
        """Hex digits."""
        return self._hash.hexdigest()


def _blocks(connection: Connection, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table in the order of its key, as Python's values: the same for both databases."""
    key = (in_byte_order(column) if isinstance(column.type, String) else column for column in table.primary_key)
    options = {"stream_results": True, "yield_per": BLOCK}
    found = connection.execute(select(table).order_by(*key), execution_options=options)
    for block in found.partitions():
        yield [tuple(row) for row in block]


def _write(connection: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
    """Write rows of Python's values. The driver takes most values as they are."""
    ways = [
        column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
        if isinstance(column.type, JSON | DateTime)
        else None
        for column in table.columns
    ]
    if any(ways):
        rows = [tuple(way(v) if way else v for v, way in zip(row, ways, strict=True)) for row in rows]
    write_rows(connection, table, [column.name for column in table.columns], rows)


@contextmanager
def _unchanging(source: Store) -> Iterator[Connection]:
    """Open the source in one moment of its life, in which nobody can change it."""
    with source.engine.connect() as connection:
        if source.engine.dialect.name == "postgresql":
            begin(connection.connection.dbapi_connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if not source.read_only:
                names = ", ".join(f'"{table.name}"' for table in _tables())
                connection.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
        else:
            connection.exec_driver_sql("BEGIN" if source.read_only else "BEGIN IMMEDIATE")
        try:
            yield connection
        finally:
            connection.rollback()


@contextmanager
def _filled(target: Store) -> Iterator[Connection]:
    """Open the target for rows in any order: references between tables are checked at the end, all at once."""
    with target.engine.connect() as connection:
        if target.engine.dialect.name == "postgresql":
            with _without_references(connection):
                yield connection
            _refuse_lost_references(connection)
            _advance_sequences(connection)
            connection.commit()
            return
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # in this connection, which is not used again
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StoreError(f"The table '{broken[0]}' refers to a missing row of '{broken[2]}'. Nothing was copied.")
        connection.commit()
        connection.invalidate()


@contextmanager
def _without_references(connection: Connection) -> Iterator[None]:
    """Take the foreign keys of a store's tables away and put them back, in the transaction of the copy."""
    known = text(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype = 'f' AND connamespace = current_schema()::regnamespace ORDER BY 1, 2"
    )
    names = {table.name for table in _tables()}
    taken = [row for row in connection.execute(known).all() if row[0].strip('"') in names]
    for table, name, _ in taken:
        connection.exec_driver_sql(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    yield
    for table, name, definition in taken:
        connection.exec_driver_sql(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')


def _refuse_lost_references(connection: Connection) -> None:
    """Check what PostgreSQL has no foreign keys for.

    A deleted set may have lost a part of its rows if its removal was interrupted. It goes on in the copy.
    """
    made = models.CorrespondenceSet
    for set_id, name in connection.execute(select(made.id, made.name).where(made.status != DELETED)).all():
        lost = lost_reference(connection, set_id)
        if lost is not None:
            raise StoreError(f"The set '{name}' refers to a {lost} that is not there. Nothing was copied.")


def _advance_sequences(connection: Connection) -> None:
    """Let the next rows get ids after those that were copied."""
    for table in _tables():
        for column in table.primary_key:
            which = {"table": f'"{table.name}"', "column": column.name}
            sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), which)
            last = connection.scalar(select(func.max(column))) if sequence else None
            if last is not None:
                connection.execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})
