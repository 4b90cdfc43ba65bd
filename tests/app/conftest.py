"""The explorer's pages without a browser, on a copy of the mined demo."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from orl_explorer.app.explorer.opened import workspace
from orl_explorer.train.workspace import Workspace, open_workspace

Show = Callable[..., AppTest]


@pytest.fixture
def here(mined_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy of the mined demo, used by the pages and routes of the test."""
    folder = tmp_path / "here"
    shutil.copytree(mined_workspace.path, folder)
    monkeypatch.setenv("ORL_WORKSPACE", str(folder))
    workspace.cache_clear()
    yield open_workspace(folder)
    workspace.cache_clear()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """An empty workspace, used by the pages of the test."""
    monkeypatch.setenv("ORL_WORKSPACE", str(tmp_path / "nowhere"))
    workspace.cache_clear()
    yield open_workspace(tmp_path / "nowhere")
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
