"""The page Train: launch, watch and compare runs; see their lineage and the results of evaluations."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.train import afterwards, history, launch, lineage, monitor, results

VIEWS = {
    "launch": ":material/rocket_launch: Launch",
    "watch": ":material/show_chart: Watch",
    "runs": ":material/history: All runs",
    "lineage": ":material/account_tree: Lineage",
    "results": ":material/leaderboard: Results",
}


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    afterwards.gone()
    match _view():
        case "launch":
            launch.launch_form(place)
        case "watch":
            monitor.panel(place.workspace)
        case "runs":
            history.panel(place.workspace)
        case "lineage":
            lineage.panel(place)
        case "results":
            results.results_panel(place.workspace)


def _view() -> str:
    """Draw the views and return the selected one. Default: Watch if the URL names a run, else Launch."""
    asked = st.query_params.get("view", "")
    shown = asked if asked in VIEWS else "watch" if "run" in st.query_params else "launch"
    st.session_state["pick-view"] = shown
    st.segmented_control(
        "View",
        list(VIEWS),
        format_func=VIEWS.__getitem__,
        required=True,
        key="pick-view",
        label_visibility="collapsed",
        on_change=_to_view,
    )
    return shown


def _to_view() -> None:
    st.query_params["view"] = st.session_state["pick-view"]
