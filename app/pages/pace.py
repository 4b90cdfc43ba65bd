"""Progress, speed and remaining time of work, measured by a page that polls it."""

from __future__ import annotations

import time

import streamlit as st

from orl_explorer.app.explorer.charts import duration
from orl_explorer.app.pages.shell import escape
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import ENDED

LEAST = 2.0  # seconds of observation before a speed is shown


def told(key: str, part: str, done: int, total: int) -> str:
    """Describe the progress of work. key: identifies the work; part: its current phase, with a count of its own."""
    now = time.monotonic()
    seen = st.session_state.get(f"pace-{key}")
    if seen is None or seen[0] != part or seen[1] > done:
        seen = part, done, now
        st.session_state[f"pace-{key}"] = seen
    words = _how_far(part, done, total)
    since, passed = done - seen[1], now - seen[2]
    if passed < LEAST or not since or done >= total:
        return words
    rate = since / passed
    return f"{words} · {rate:,.1f} per second · {duration((total - done) / rate)} left in phase"


def told_of_run(run: Run) -> str:
    """Describe the progress of a run in its current phase. A run that has ended has no speed."""
    if run.status == "queued":
        return "Queued"
    if not run.phase or not run.total:
        return escape(run.phase or "Starting")
    if run.status in ENDED:
        return _how_far(run.phase, run.progress, run.total)
    return told(f"run-{run.id}", run.phase, run.progress, run.total)


def _how_far(part: str, done: int, total: int) -> str:
    return f"{escape(part)}: {done:,} of {total:,}"
