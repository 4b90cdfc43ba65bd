"""Starting a run from a form."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from orl_explorer.app.pages import shell
from orl_explorer.db.models import Run
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.job import Job
from orl_explorer.train.jobs.launcher import launch
from orl_explorer.train.jobs.launchers.choice import Placement
from orl_explorer.train.workspace import Workspace


def started(opened: Workspace, make: Callable[[], Job], where: Placement | None = None) -> Run | None:
    """Start a run that does the job which ``make`` returns. If that is not possible, show why, and return None."""
    if shell.read_only():
        st.error("This server is read-only. It starts no runs.")
        return None
    try:
        return launch(opened, make(), placed=where)
    except (UserError, StoreError) as mistake:
        st.error(shell.escape(str(mistake)))
        return None
