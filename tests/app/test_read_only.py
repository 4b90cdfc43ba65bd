"""Servers that only show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orl_explorer.app.server.failed import show_failure
from orl_explorer.db.models import Dataset
from orl_explorer.db.photos import datasets
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.db.sets.write import keep_quality
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.mining.quality import quality_of
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.shell import orl

pytestmark = pytest.mark.both_databases


def test_a_read_only_store_refuses_every_change_itself(here: Workspace) -> None:
    shown = open_workspace(here.path, read_only=True)
    assert [d.name for d in datasets(shown.store)] == ["demo"]
    with (
        pytest.raises(StoreError, match=r"Cannot change the store: it was opened read-only\."),
        shown.store.session() as session,
    ):
        session.add(Dataset(name="mine", root="/", layout="folder"))
    assert [d.name for d in datasets(here.store)] == ["demo"]


def test_a_set_whose_measures_are_old_is_measured_and_not_written(here: Workspace) -> None:
    kept = dict(complete_set_named(here.store, "demo-starter").quality or {})
    old = kept | {"revision": kept["revision"] - 1}
    keep_quality(here.store, complete_set_named(here.store, "demo-starter").id, old)
    shown = open_workspace(here.path, read_only=True)
    assert quality_of(shown, "demo-starter") == {k: v for k, v in kept.items() if k not in ("version", "revision")}
    assert complete_set_named(here.store, "demo-starter").quality == old


@pytest.mark.sqlite
def test_a_read_only_workspace_is_neither_made_nor_upgraded(here: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no workspace in .*/none. Create it by"):
        open_workspace(tmp_path / "none", read_only=True)
    with here.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(StoreError, match=r"of an older version \(revision 0001\). Open it once for writing first\."):
        open_workspace(here.path, read_only=True)


def test_a_page_that_fails_says_why_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("streamlit.error", lambda text, **_: said.append(text))
    monkeypatch.delenv("ORL_DEV", raising=False)
    assert show_failure(StoreError("The store is locked."))
    assert show_failure(KeyError("secret"))
    assert said == [
        "This page cannot be shown\\: The store is locked\\.",
        "This page failed by an error in ORL Explorer \\(KeyError\\)\\. The server's log has the details\\.",
    ]
    monkeypatch.setenv("ORL_DEV", "1")
    assert not show_failure(KeyError("shown by Streamlit"))


@pytest.mark.sqlite
def test_commands_that_look_work_on_a_read_only_disk(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    here.store.close()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert "demo-starter" in orl("sets", "list").stdout
    for group in ("datasets", "encoders", "runs", "evaluations", "actions"):
        assert orl(group).returncode == 0
    assert not (here.path / "orl.sqlite-wal").exists()


STOPPED_SERVER = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from orl_explorer.app.server.__main__ import _leave
from orl_explorer.train.mining.making import cache_folder
signal.signal(signal.SIGTERM, _leave)
home = Path(sys.argv[1])
workspace = SimpleNamespace(store=SimpleNamespace(read_only=True), path=home)
folder = cache_folder(workspace, home / "matches" / "1", usable=False)
folder.mkdir(parents=True)
(folder / "order.npy").write_bytes(b"1")
print(folder, flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_server_that_is_stopped_leaves_no_temporary_files(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_SERVER, str(tmp_path / "home")],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        check=False,
    )
    assert done.returncode == 128 + 15
    assert done.stdout.startswith(str(tmp_path / "tmp" / "orl-cache-"))
    assert list((tmp_path / "tmp").iterdir()) == []
