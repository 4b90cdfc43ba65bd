"""Names that notebooks and other tools rely on, read back from SQLite itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from orl_explorer.db.store import open_store

pytestmark = pytest.mark.sqlite

RELIED_ON = {
    "dataset": "id name root created_at",
    "image": "id dataset_id path width height status error",
    "annotation": "image_id category x y w h difficult",
    "encoder": "id name architecture kind weights_sha256 run_id",
    "proposal": "image_id method boxes",
    "roi": "id image_id x y w h",
    "correspondence_set": "id name dataset_id encoder_id params status created_at",
    "neighbor": "set_id image_id rank neighbor_id similarity",
    "candidate": "set_id image_id rank roi_id",
    "pair": "set_id image_id neighbor_rank rank query_roi_id key_roi_id similarity",
    "run": "id kind status params correspondence_set_id pid heartbeat_at exit_code log_path",
    "metric": "run_id step name value",
    "verdict": "query_roi_id key_roi_id verdict author created_at",
    "tag": "image_id tag author created_at",
    "pair_tag": "query_roi_id key_roi_id tag author created_at",
    "selection": "id name dataset_id created_at image_ids author",
    "action": "id created_at author action subject detail",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    path = tmp_path_factory.mktemp("store") / "orl.sqlite"
    open_store(f"sqlite:///{path}").close()
    return sqlite3.connect(path)


@pytest.mark.parametrize("table", RELIED_ON)
def test_a_table_has_the_columns_that_others_rely_on(tables: sqlite3.Connection, table: str) -> None:
    columns = {row[1] for row in tables.execute(f"PRAGMA table_info({table})")}
    assert set(RELIED_ON[table].split()) <= columns


@pytest.mark.parametrize("table", ["neighbor", "candidate", "pair", "metric", "set_image", "tag", "pair_tag"])
def test_a_table_of_millions_of_rows_is_kept_by_its_key_alone(tables: sqlite3.Connection, table: str) -> None:
    (sql,) = tables.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    assert sql.rstrip().endswith("WITHOUT ROWID")


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ("SELECT * FROM neighbor WHERE set_id = 1 AND image_id = 2", "PRIMARY KEY (set_id=? AND image_id=?)"),
        ("SELECT * FROM candidate WHERE set_id = 1 AND image_id = 2", "PRIMARY KEY (set_id=? AND image_id=?)"),
        ("SELECT * FROM pair WHERE set_id = 1 AND image_id = 2", "PRIMARY KEY (set_id=? AND image_id=?)"),
        ("SELECT id FROM roi WHERE image_id = 2", "ix_roi_box (image_id=?)"),
        ("SELECT * FROM annotation WHERE image_id = 2", "ix_annotation_image_id (image_id=?)"),
        (
            "SELECT image_id FROM set_image WHERE set_id = 1 ORDER BY pair_count, image_id LIMIT 9",
            "ix_set_image_pairs (set_id=?)",
        ),
        (
            "SELECT id FROM image WHERE dataset_id = 1 AND superseded_by IS NULL ORDER BY path LIMIT 9",
            "ix_image_current (dataset_id=?)",
        ),
    ],
)
def test_a_pages_question_is_answered_by_an_index(tables: sqlite3.Connection, question: str, index: str) -> None:
    plan = " ".join(row[3] for row in tables.execute(f"EXPLAIN QUERY PLAN {question}"))
    assert index in plan
    assert "TEMP B-TREE" not in plan


def test_every_reference_is_checked(tables: sqlite3.Connection, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/orl.sqlite")
    with store.engine.connect() as connection, pytest.raises(Exception, match="FOREIGN KEY constraint failed"):
        connection.exec_driver_sql("INSERT INTO roi (image_id, x, y, w, h) VALUES (99, 0, 0, 1, 1)")
