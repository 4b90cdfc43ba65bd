"""The explorer's pages without a browser, on a copy of the mined demo."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.app.server import door
from orl_explorer.train.workspace import Workspace, open_workspace
from tests.app.guarded import behind_the_gate
from tests.conftest import Database, NewWorkspace

Guarded = Callable[..., TestClient]
Show = Callable[..., AppTest]


@pytest.fixture
def here(
    mined_workspace: Workspace,
    database: Database,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workspace]:
    """A copy of the mined demo, used by the pages and routes of the test."""
    folder = tmp_path / "here"
    shutil.copytree(mined_workspace.path, folder)
    if database == "postgresql":
        mined = request.getfixturevalue("mined_database")
        monkeypatch.setenv("ORL_DATABASE_URL", request.getfixturevalue("postgres").create(mined))
        (folder / "orl.sqlite").unlink()
    monkeypatch.setenv("ORL_WORKSPACE", str(folder))
    workspace.cache_clear()
    yield open_workspace(folder)
    workspace.cache_clear()


@pytest.fixture
def nowhere(empty_workspace: NewWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """An empty workspace, used by the pages of the test."""
    monkeypatch.setenv("ORL_WORKSPACE", str(tmp_path / "nowhere"))
    workspace.cache_clear()
    yield empty_workspace(tmp_path / "nowhere")
    workspace.cache_clear()


@pytest.fixture
def show() -> Show:
    """Return a function that runs a page: ``show("pair", q="3") -> AppTest``."""

    def run(name: str, **query: str) -> AppTest:
        at = AppTest.from_string(f"from orl_explorer.app.pages.{name}.page import page\npage()\n", default_timeout=60)
        for key, value in query.items():
            at.query_params[key] = value
        return at.run()

    return run


@pytest.fixture
def guarded(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """A server with pages, a picture and a socket behind the gate: ``guarded(password="...") -> client``.

    Each call is a start of the server in the same workspace, or in the one given as ``opened``.
    """
    monkeypatch.setattr(door, "DELAY", 0.05)
    made: list[TestClient] = []

    def make(base: str = "http://localhost:8501", opened: Workspace = workspace, **asked: Any) -> TestClient:
        made.append(TestClient(behind_the_gate(opened, **asked), base_url=base, follow_redirects=False))
        return made[-1]

    yield make
    for client in made:
        client.close()
