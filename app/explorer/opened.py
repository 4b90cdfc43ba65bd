"""The workspace that this server shows, opened once."""

from __future__ import annotations

import os
from functools import lru_cache

from orl_explorer.train.workspace import Workspace, open_workspace


def read_only() -> bool:
    """Whether this server only shows: then pages offer nothing that writes or runs, and the store refuses it."""
    return os.environ.get("ORL_READ_ONLY") == "1"


@lru_cache(maxsize=1)
def workspace() -> Workspace:
    """The server's workspace, opened once."""
    return open_workspace(read_only=read_only())
