"""Who may enter the folder of a workspace."""

from __future__ import annotations

import os
from pathlib import Path

from orl_explorer.train.workspace import open_workspace


def test_only_its_owner_may_enter_a_new_workspace(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        made = open_workspace(tmp_path / "shared" / "mine")
    finally:
        os.umask(before)
    assert oct(made.path.stat().st_mode & 0o777) == "0o700"
    assert oct(made.path.parent.stat().st_mode & 0o777) == "0o755"  # a folder that others may need


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours").chmod(0o2775)
    assert oct(open_workspace(tmp_path / "ours").path.stat().st_mode & 0o7777) == "0o2775"
