"""Background work for a part of the Tune page: a button that starts it, its progress, a button that stops it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from orl_explorer.app.explorer.tuning import Tuner
from orl_explorer.app.pages.pace import told
from orl_explorer.app.pages.shell import escape
from orl_explorer.train.progress import Progress


def offer_work(tuner: Tuner, part: str, text: str, label: str, do: Callable[[Progress], None]) -> None:
    """Draw a text and a button that starts the work, or its progress. part: part of the page; each has one button."""
    if watch(tuner, part):
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"tune-offer-{part}"):
        st.markdown(text)
        st.button(
            label,
            key=f"tune-start-{part}",
            icon=":material/memory:",
            on_click=tuner.start,
            args=(part, do),
            disabled=tuner.working,
            help="Compute in memory. Nothing is written to disk; the result is lost when the explorer stops.",
        )


def watch(tuner: Tuner, part: str) -> bool:
    """Draw the progress of the work of a part of the page. Return whether it is running."""
    work = tuner.work_for(part)
    if work is None:
        return False
    if work.running:
        st.fragment(_live, run_every=0.5)(tuner, part)
        return True
    if work.error:
        st.error(escape(work.error), icon=":material/error:")
    return False


def _live(tuner: Tuner, part: str) -> None:
    work = tuner.work_for(part)
    if work is None or not work.running:
        st.rerun()  # the page has new results to show
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(work.share, text=told(f"tune-{part}", work.name or "Starting", work.done, work.total))
        st.button(
            "Stopping …" if work.stopping else "Stop computing",
            key=f"tune-stop-{part}",
            icon=":material/stop_circle:",
            on_click=work.stop,
            disabled=work.stopping,
        )
