"""The inputs that say where a new run works, and what a page says about where a run waits or works."""

from __future__ import annotations

import platform
import shutil
from importlib.util import find_spec

import streamlit as st

from orl_explorer.app.pages.shell import code, escape
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import LOCAL, QUEUE_ONLY, earlier_runs, waits_for_worker
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.launchers.choice import RAY, SLURM, Placement, default_launcher, placement
from orl_explorer.train.workspace import Workspace

TITLES = {LOCAL: "This machine", RAY: "Ray", SLURM: "SLURM", QUEUE_ONLY: "A worker that I start"}
HELP = (
    "Ray and SLURM start the run on a machine of the cluster. A worker is a command that you start on any machine that "
    "has this folder."
)


def placement_fields(opened: Workspace, key: str, shared: bool = False) -> Placement | None:
    """Draw the choice of where a run works. shared: whether several machines can share it. None: it cannot work."""
    try:
        default = default_launcher(opened)
    except UserError as mistake:
        st.error(escape(str(mistake)))
        return None
    there = {LOCAL: True, RAY: find_spec("ray") is not None, SLURM: shutil.which("sbatch") is not None}
    offered = list(dict.fromkeys([default, *(name for name in TITLES if there.get(name, True))]))
    on = st.selectbox(
        "Runs on",
        offered,
        format_func=lambda name: TITLES.get(name, name),
        key=f"on-{key}",
        help=HELP,
        persist_state="session",
    )
    nodes = 1
    if shared and on in (SLURM, QUEUE_ONLY):
        text = "Each machine runs as many training processes as the settings say."
        nodes = int(st.number_input("Machines", 1, None, 1, key=f"nodes-{key}", help=text, persist_state="session"))
    try:
        return placement(opened, "" if on == QUEUE_ONLY else on or "", nodes, queue_only=on == QUEUE_ONLY)
    except UserError as mistake:
        st.error(escape(str(mistake)))
        return None


def place_in_queue(opened: Workspace, run: Run) -> str:
    """Say what a queued run waits for."""
    if waits_for_worker(run):
        return "Waiting for a worker"
    if run.launcher != LOCAL and run.pid is None:
        job = f", job {run.handle}" if run.handle else ""
        return escape(f"Queued by {TITLES.get(run.launcher, run.launcher)}{job}")
    ahead = len(earlier_runs(opened.store, run))
    if not ahead:
        return "Next in the queue"
    where = "" if run.host in ("", platform.node()) else f" of {escape(run.host)}"
    return f"Queued behind {ahead} run{'s' if ahead > 1 else ''} on this device{where} ({run.device})"


def show_worker_line(opened: Workspace, run: Run) -> None:
    """Show the command that takes a run which waits for a worker."""
    if run.nodes > 1:
        text = f"Start this on each of {run.nodes} machines that have the same folder. HOST is the name of one of them."
    else:
        text = "Start this on a machine that has the same folder."
    st.caption(text)
    st.code(launcher.worker_line(opened, run), language=None, wrap_lines=True)


def where_it_works(run: Run) -> str:
    """Say on which other machine a run works, as Markdown; "" if it is this one."""
    if run.host in ("", platform.node()):
        return ""
    spread = f" and {run.nodes - 1} more" if run.nodes > 1 else ""
    return f" · machine {code(run.host)}{spread}"
