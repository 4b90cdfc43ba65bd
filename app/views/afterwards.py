"""What to do with what a run has made."""

from __future__ import annotations

import streamlit as st

from app import shell
from app.shell import escape
from app.views import start
from db.correspondences import find_set
from db.encoders import find_encoder
from db.models import CorrespondenceSet, Encoder, Run
from db.photos import dataset_by_id
from train.workspace import Workspace


def offer(opened: Workspace, run: Run) -> None:
    """The next steps of a run that is done."""
    if run.status != "done":
        return
    if run.kind == "mine":
        made = find_set(opened.store, run.name)
        if made is not None and made.status == "complete":
            _with_set(opened, made)
    elif run.kind in ("pretrain", "train"):
        encoder = find_encoder(opened.store, run.name)
        if encoder is not None and run.dataset_id is not None:
            _with_encoder(opened, run, encoder)


def _with_set(opened: Workspace, made: CorrespondenceSet) -> None:
    dataset = dataset_by_id(opened.store, made.dataset_id)
    with st.container(border=True):
        st.markdown(f":material/check: The set **{escape(made.name)}** is ready: {made.pair_count:,} pairs.")
        with st.container(horizontal=True):
            go = {"dataset": dataset.name, "mined": made.name}
            if _leads("explore"):
                st.button("Explore it", icon=":material/photo_library:", on_click=_pick, kwargs=go, key="to-explore")
            if not shell.read_only():
                st.button("Train on it", icon=":material/model_training:", type="primary", on_click=_train, kwargs=go)
    if st.session_state.pop("go", "") == "explore":
        shell.open_page("explore")


def _with_encoder(opened: Workspace, run: Run, encoder: Encoder) -> None:
    assert run.dataset_id is not None
    dataset = dataset_by_id(opened.store, run.dataset_id)
    with st.container(border=True):
        st.markdown(
            f":material/check: The encoder **{escape(encoder.name)}** is ready. See which pairs it finds, measure it, "
            "or look at what it attends to."
        )
        with st.container(horizontal=True):
            if not shell.read_only() and st.button(
                "Mine with it …", icon=":material/search:", type="primary", key="mine-with"
            ):
                _mine(opened, dataset.name, encoder)
            if _leads("attention") and st.button("Its attention", icon=":material/local_fire_department:"):
                shell.open_page("attention", encoders=encoder.name)


def _leads(page: str) -> bool:
    return page in st.session_state.get("pages", {})


def _pick(dataset: str, mined: str) -> None:
    """Callback: pick a set, then go to its photos (a callback cannot change the page itself)."""
    st.session_state["data"], st.session_state["set"] = dataset, mined
    st.session_state["go"] = "explore"


def _train(dataset: str, mined: str) -> None:
    """Callback: the form of stage 3 on a set."""
    st.session_state["data"], st.session_state["set"] = dataset, mined
    st.query_params.pop("run", None)
    st.query_params["view"], st.query_params["stage"] = "launch", "3"


def _mine(opened: Workspace, dataset: str, encoder: Encoder) -> None:
    @st.dialog(f"Mine with {encoder.name}")
    def ask() -> None:
        from db.photos import dataset_named

        start.mine_form(opened, dataset_named(opened.store, dataset), encoder.name)

    ask()
