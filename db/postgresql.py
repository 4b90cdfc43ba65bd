"""What PostgreSQL needs to behave as SQLite does: its connections, its errors, its writes by the million."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    Engine,
    Float,
    Integer,
    LargeBinary,
    Select,
    SmallInteger,
    Table,
    create_engine,
    event,
)
from sqlalchemy.dialects.postgresql.psycopg import PGCompiler_psycopg
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import JSON

from orl_explorer.db.trouble import StoreError

ALL_ROWS = "SET LOCAL cursor_tuple_fraction = 1"  # of a question whose answer comes in blocks, all are read
LOCKS = ("FOR UPDATE", "FOR KEY SHARE", "advisory")  # in a question that takes a lock
PATIENCE = 10  # seconds that a connection may take
_NUMBERS = count()
# PostgreSQL's name of each type, narrow ones before those that they are kinds of.
TYPES = (
    (SmallInteger, "int2"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (Float, "float8"),
    (Boolean, "bool"),
    (DateTime, "timestamp"),
    (LargeBinary, "bytea"),
    (JSON, "json"),
)


def postgresql_engine(url: URL, read_only: bool = False) -> Engine:
    """Return an engine whose reads are one message each, and whose transactions begin with their first change.

    So they do on SQLite. A page asks dozens of short questions; BEGIN and COMMIT around each of them would make three
    messages of one. read_only: sessions refuse changes from their start.
    """
    given: dict[str, Any] = {"client_encoding": "utf8"}  # whatever $PGCLIENTENCODING says
    if read_only:
        given |= refusing_writes(url)
    if "connect_timeout" not in url.query and "PGCONNECT_TIMEOUT" not in os.environ:
        given["connect_timeout"] = PATIENCE
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args=given)
    engine.dialect.statement_compiler = _WideIntegers
    event.listen(engine, "connect", _refuse_other_encodings, insert=True)  # before SQLAlchemy asks for the version
    event.listen(engine, "before_cursor_execute", _begin_with_a_change)
    return engine


def _refuse_other_encodings(connection: Any, _: object) -> None:
    """Raise StoreError if the database cannot hold every name of a photo. Of SQL_ASCII, texts would come as bytes."""
    encoding, name = connection.info.parameter_status("server_encoding"), connection.info.dbname
    if encoding not in (None, "UTF8"):
        connection.close()
        raise StoreError(
            f"The database '{name}' has the encoding {encoding}, which does not hold every name. "
            f"Create it with UTF8: createdb --encoding=UTF8 --template=template0 {shlex.quote(name)}"
        )


class _WideIntegers(PGCompiler_psycopg):
    """Sends integers as BIGINT, also where they meet a narrower column.

    A number that the column cannot hold, such as an id in an address, is then not found, as in SQLite. PostgreSQL would
    refuse the question. And a product of two numbers may be larger than each of them.
    """

    def render_bind_cast(self, type_: Any, dbapi_type: Any, sqltext: str) -> str:
        wide = BigInteger() if dbapi_type._type_affinity is Integer else dbapi_type
        return super().render_bind_cast(type_, wide, sqltext)


def refusing_writes(url: URL) -> dict[str, str]:
    """Return what makes every session of PostgreSQL read-only from its start, after the options given by the user.

    A statement on a new connection would not do: it belongs to a transaction, which the pool rolls back.
    """
    given = url.normalized_query.get("options") or (os.environ.get("PGOPTIONS", ""),)
    return {"options": " ".join((*given, "-c default_transaction_read_only=on")).strip()}


def _begin_with_a_change(
    _: Connection, cursor: DBAPICursor, statement: str, __: object, context: ExecutionContext | None, ___: bool
) -> None:
    """Begin a transaction before whatever is not a plain question, unless there is one."""
    asked: Any = context
    if asked is not None and asked._is_server_side:  # its rows come in blocks, all of which will be read
        begin(cursor.connection, ALL_ROWS)
        return
    compiled = asked.compiled if asked is not None else None
    reads = compiled is not None and getattr(compiled.statement, "is_select", False)
    if not reads or any(lock in statement for lock in LOCKS):  # locks last as long as a transaction
        begin(cursor.connection)


def begin(connection: Any, *settings: str) -> None:
    """Begin a transaction on a connection of the driver, unless there is one. settings: statements that hold in it."""
    begun = connection.info.transaction_status != 0
    if statements := [*([] if begun else ["BEGIN"]), *settings]:
        connection.execute("; ".join(statements))


def stream_rows(connection: Connection, question: Select[Any], rows: int) -> Iterator[Sequence[Any]]:
    """Yield what the driver answers in blocks that the server keeps until they are asked for."""
    compiled = question.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    driver: Any = connection.connection.dbapi_connection
    begin(driver, ALL_ROWS)
    with driver.cursor(f"rows_{next(_NUMBERS)}", binary=True) as cursor:
        cursor.execute(str(compiled), compiled.params)
        while block := cursor.fetchmany(rows):
            yield block


def copy_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows by COPY, in PostgreSQL's binary form. Raises DBAPIError."""
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(name) for name in columns)
    statement = f"COPY {quote(table.name)} ({names}) FROM STDIN (FORMAT BINARY)"
    types = [next((name for kind, name in TYPES if isinstance(table.c[c].type, kind)), "text") for c in columns]
    driver: Any = connection.dialect.loaded_dbapi
    raw: Any = connection.connection.dbapi_connection
    try:
        begin(raw)
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except driver.Error as error:
        raise DBAPIError.instance(statement, None, error, driver.Error, dialect=connection.dialect) from error
