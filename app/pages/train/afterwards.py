"""Next steps after a run: buttons for its set, its encoder or its result."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.shell import escape
from orl_explorer.db.encoders import VECTORS, encoder_by_id, find_encoder
from orl_explorer.db.models import CorrespondenceSet, Encoder, Run
from orl_explorer.db.photos import dataset_by_id, dataset_named
from orl_explorer.db.runs.evaluations import evaluation_of_run
from orl_explorer.db.runs.runs import find_run
from orl_explorer.db.sets.read import find_set, set_by_id
from orl_explorer.train.jobs.kinds import makes
from orl_explorer.train.training.adapt_config import ADAPTED
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace


def offer_next(opened: Workspace, run: Run) -> None:
    """Draw the next steps of a run that is done."""
    if run.status != "done":
        return
    match makes(run):
        case "set":
            made = find_set(opened.store, run.name)
            if made is not None and made.status == "complete":
                _with_set(opened, made)
        case "evaluation":
            _result(opened, run)
        case "encoder":
            encoder = find_encoder(opened.store, run.name)
            if encoder is not None and run.dataset_id is not None:
                with st.container(border=True):
                    st.markdown(
                        f":material/check: The encoder **{escape(encoder.name)}** is ready. {_next_steps(encoder)}"
                    )
                    with_encoder(opened, encoder, dataset_by_id(opened.store, run.dataset_id).name)


def _next_steps(encoder: Encoder) -> str:
    """Say what the buttons of ``with_encoder`` do."""
    looked_at = "" if encoder.kind == ADAPTED else "look at its attention maps"
    if shell.read_only():
        return looked_at and f"You can {looked_at}."
    return f"Mine pairs with it, evaluate it, or {looked_at}." if looked_at else "Mine pairs with it or evaluate it."


def with_encoder(opened: Workspace, encoder: Encoder, dataset: str) -> None:
    """Draw buttons to mine with an encoder, evaluate it, and show its attention beside that of the one before.

    Mining takes the settings of the set that the encoder learned from, if any, so that both sets can be compared.
    Imported vectors have no weights: they can be neither evaluated nor asked for maps.
    """
    learned, weights = _learned_from(opened, encoder), encoder.kind != VECTORS
    with st.container(horizontal=True):
        if not shell.read_only():
            if st.button("Mine with encoder …", icon=":material/search:", type="primary", key="mine-with"):
                _mine(opened, dataset, encoder, learned)
            if weights:
                st.button("Evaluate encoder …", icon=":material/monitoring:", on_click=_evaluate, args=(encoder.name,))
        if shell.has_page("attention") and weights and encoder.kind != ADAPTED:  # adapted: the maps of its source
            before = encoder_by_id(opened.store, learned.encoder_id) if learned else None
            before = None if before and before.kind == VECTORS else before
            label = f"Compare attention with {shell.escape(before.name)}" if before else "Show attention"
            if st.button(label, icon=":material/visibility:", key="to-attention"):
                st.session_state["encoders"] = [row.name for row in (before, encoder) if row is not None]
                shell.open_page("attention")


def _learned_from(opened: Workspace, encoder: Encoder) -> CorrespondenceSet | None:
    """Return the set that an encoder learned from, if it is still there."""
    run = find_run(opened.store, encoder.run_id) if encoder.run_id else None
    found = set_by_id(opened.store, run.correspondence_set_id) if run and run.correspondence_set_id else None
    return found if found and found.status == "complete" else None


def _round_before(opened: Workspace, made: CorrespondenceSet) -> CorrespondenceSet | None:
    """Return the set that the encoder of a set learned from, if it is of the same photos."""
    first = _learned_from(opened, encoder_by_id(opened.store, made.encoder_id))
    return first if first and first.dataset_id == made.dataset_id and first.id != made.id else None


def _with_set(opened: Workspace, made: CorrespondenceSet) -> None:
    picked = {"data": dataset_by_id(opened.store, made.dataset_id).name, "set": made.name}
    with st.container(border=True):
        st.markdown(f":material/check: The set **{escape(made.name)}** is ready: {plural(made.pair_count, 'pair')}.")
        with st.container(horizontal=True):
            if not shell.read_only():
                st.button(
                    "Train on set",
                    icon=":material/model_training:",
                    type="primary",
                    on_click=_train,
                    kwargs=picked,
                )
                st.button(
                    "Adapt encoder to set",
                    icon=":material/tune:",
                    on_click=_train,
                    kwargs=picked | {"stage": "adapt"},
                )
            for page, label, icon in (("explore", "Explore set", "photo_library"), ("tune", "Tune set", "tune")):
                if shell.has_page(page):
                    st.button(
                        label,
                        icon=f":material/{icon}:",
                        key=f"to-{page}",
                        on_click=go_with_set,
                        kwargs=picked | {"page": page},
                    )
            first = _round_before(opened, made)
            if first is not None and shell.has_page("compare"):
                st.button(
                    f"Compare with {escape(first.name)}",
                    icon=":material/difference:",
                    key="to-compare",
                    on_click=go_with_set,
                    kwargs=picked | {"page": "compare", "before": first.name},
                )


def launch_button() -> None:
    """Draw a button that opens the form of a new run: where nothing has run yet."""
    if not shell.read_only():
        st.button("Launch a run", icon=":material/rocket_launch:", type="primary", on_click=_to_form)


def _to_form() -> None:
    """Callback: open the form of a new run."""
    st.query_params["view"] = "launch"


def go_with_set(page: str, data: str, set: str, before: str = "") -> None:
    """Callback: select a set and request another page. ``gone`` opens it when the pickers have the selection.

    before: the set that the page *Compare* shows it beside.
    """
    st.session_state["data"], st.session_state["set"], st.session_state["goes_to"] = data, set, (page, before)


def gone() -> None:
    """Open the page that a callback requested."""
    page, before = st.session_state.pop("goes_to", ("", ""))
    if before:
        shell.open_comparison(before, st.session_state["set"])
    if shell.has_page(page):
        shell.open_page(page)


def _result(opened: Workspace, run: Run) -> None:
    found = evaluation_of_run(opened.store, run.id)
    if found is None:
        return
    numbers = {name: value for name, value in found.summary.items() if isinstance(value, int | float)}
    with st.container(border=True):
        st.markdown(f"**{escape(found.protocol)}** on {escape(found.data)}")
        for start_at in range(0, len(numbers), 6):
            some = list(numbers.items())[start_at : start_at + 6]
            for column, (name, value) in zip(st.columns(6), some, strict=False):
                column.metric(name.replace("_", " "), f"{value:.4g}")
        for note in found.summary.get("notes", []):
            st.caption(escape(note))
        st.button("Show all results", icon=":material/leaderboard:", on_click=_results, type="tertiary")


def _results() -> None:
    """Callback: open the table of all evaluations."""
    st.query_params["view"] = "results"


def _train(data: str, set: str, stage: str = "3") -> None:
    """Callback: open the form of stage 3, or of an adaptation, for a set."""
    st.session_state["data"], st.session_state["set"] = data, set
    st.query_params.pop("run", None)
    st.query_params["view"], st.query_params["stage"] = "launch", stage


def _evaluate(encoder: str) -> None:
    """Callback: open the evaluation form for an encoder."""
    st.query_params.pop("run", None)
    st.query_params["view"], st.query_params["stage"], st.query_params["encoder"] = "launch", "evaluate", encoder


def _mine(opened: Workspace, dataset: str, encoder: Encoder, like: CorrespondenceSet | None) -> None:
    @st.dialog(f"Mine with {shell.escape(encoder.name)}")
    def ask() -> None:
        start.mine_form(opened, dataset_named(opened.store, dataset), encoder.name, like)

    ask()
