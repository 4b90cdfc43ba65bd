"""Rows that are passed to and fetched from the driver directly."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from orl_explorer.db.models import Annotation
from orl_explorer.db.photos import FoundPhoto, add_photos, ensure_dataset
from orl_explorer.db.store import Store, fetch, insert_rows
from orl_explorer.train.workspace import Workspace

COLUMNS = ("image_id", "category", "x", "y", "w", "h", "difficult")
ROWS = [(1, f"kind {n}", n, 0.5, 1, 2, n % 2 == 0) for n in range(7)]


@pytest.fixture
def store(workspace: Workspace) -> Store:
    ensure_dataset(workspace.store, "trip", "/photos", "folder")
    add_photos(workspace.store, 1, [FoundPhoto("a.jpg", 64, 48)], {})
    return workspace.store


def test_rows_come_back_as_they_went_in(store: Store) -> None:
    with store.session() as session:
        insert_rows(session, Annotation, COLUMNS, ROWS)
        insert_rows(session, Annotation, COLUMNS, [])
    question = select(*(getattr(Annotation, name) for name in COLUMNS)).order_by(Annotation.id)
    with store.session() as session:
        blocks = list(fetch(session, question, rows=3))
    assert [len(block) for block in blocks] == [3, 3, 1]
    assert [row for block in blocks for row in block] == ROWS


def test_columns_that_are_out_of_order_are_noticed(store: Store) -> None:
    with pytest.raises(AssertionError, match="not the order of the table"), store.session() as session:
        insert_rows(session, Annotation, COLUMNS[::-1], [row[::-1] for row in ROWS])


def test_rows_that_fail_leave_nothing_behind(store: Store) -> None:
    with (
        pytest.raises(Exception, match="FOREIGN KEY constraint failed|violates foreign key constraint"),
        store.session() as session,
    ):
        insert_rows(session, Annotation, COLUMNS, [*ROWS, (99, "nowhere", 0, 0, 1, 1, False)])
    with store.session() as session:
        assert session.scalar(text("SELECT COUNT(*) FROM annotation")) == 0
