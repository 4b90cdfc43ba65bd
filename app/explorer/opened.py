"""The server's workspace."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache

from orl_explorer.app.explorer.author import author
from orl_explorer.train.workspace import Workspace, open_workspace


def read_only() -> bool:
    """Return whether the server is read-only. Then pages offer no changes or runs, and the store refuses them."""
    return os.environ.get("ORL_READ_ONLY") == "1"


@lru_cache(maxsize=1)
def workspace() -> Workspace:
    """Return the server's workspace, opened once. Whoever is logged in acts in it."""
    return replace(open_workspace(read_only=read_only()), actor=author)
