"""A mined demo to export from and import into."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import orl_explorer
from orl_explorer.train.workspace import Workspace


@pytest.fixture
def place(mined_workspace: Workspace, tmp_path: Path) -> orl_explorer.Workspace:
    """A copy of the mined demo."""
    return orl_explorer.open_workspace(shutil.copytree(mined_workspace.path, tmp_path / "workspace"), bars=False)
