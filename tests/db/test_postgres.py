"""A store in PostgreSQL: what it refuses, what its errors say, and what the documents tell to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from orl_explorer.db import postgresql
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import datasets, ensure_dataset
from orl_explorer.db.store import StoreError, open_store
from tests.postgres import EMPTY, PostgresServer

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
