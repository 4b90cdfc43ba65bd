"""The workspace that this server shows, opened once."""

from __future__ import annotations

from functools import lru_cache

from orl_explorer.app.server.access import read_only
from orl_explorer.train.workspace import Workspace, open_workspace


@lru_cache(maxsize=1)
def workspace() -> Workspace:
    """The server's workspace, opened once."""
    return open_workspace(read_only=read_only())
