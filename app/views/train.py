"""Train: launch trainings, watch them, compare them, and see what came from what."""

from __future__ import annotations

import streamlit as st

from app import shell
from app.pictures import workspace
from app.views import afterwards, history, launch, lineage, monitor, start
from db.correspondences import find_set
from db.photos import dataset_by_id

VIEWS = {
    "launch": ":material/rocket_launch: Launch",
    "watch": ":material/show_chart: Watch",
    "runs": ":material/history: All runs",
    "lineage": ":material/account_tree: Lineage",
}


def page() -> None:
    """Draw the page."""
    _follow_set()
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    afterwards.gone()
    match _view():
        case "launch":
            launch.form(place)
        case "watch":
            monitor.panel(place.workspace)
        case "runs":
            history.panel(place.workspace)
        case "lineage":
            lineage.panel(place)


def _follow_set() -> None:
    """A link may name a set alone: then its data set is the one to pick."""
    name = st.query_params.get("set")
    if name is None or "data" in st.query_params or "data" in st.session_state:
        return
    opened = workspace()
    found = find_set(opened.store, name)
    if found is not None:
        st.session_state["data"] = dataset_by_id(opened.store, found.dataset_id).name


def _view() -> str:
    """What the URL asks for: a link to a run is for watching it, and without one there is a form."""
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
