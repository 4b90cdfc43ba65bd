"""Watching runs: state, numbers, curves, log, stop and resume; and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from app.shell import escape, share_done, status_line
from db.models import Run, now
from db.runs import ENDED, LIVE, find_run, metrics, runs
from db.store import StoreError
from train import runs as launcher
from train.errors import UserError
from train.workspace import Workspace

POINTS = 1500  # of a curve; more are not seen
KINDS = {"pretrain": "stage 1 (BYOL)", "mine": "stage 2 (mining)", "train": "stage 3 (ORL)"}
COLOURS = {"loss": "#0f7b6c", "loss_image": "#0072b2", "loss_intra": "#e69f00", "loss_inter": "#cc79a7"}


def panel(opened: Workspace) -> None:
    """The run that the URL names, else the newest training run."""
    asked = st.query_params.get("run", "")
    run = find_run(opened.store, int(asked)) if asked.isdecimal() and len(asked) < 12 else None
    if run is None:
        newest = [r for r in runs(opened.store) if r.kind != "mine"]
        run = newest[0] if newest else None
    if run is None:
        st.subheader("Runs", anchor=False)
        st.info(
            "No training run yet. Launch one on the left, and its curves appear here.", icon=":material/show_chart:"
        )
        return
    live = run.status in LIVE
    st.fragment(_live, run_every=2.0 if live else None)(opened, run.id, live)


def _live(opened: Workspace, run_id: int, was_live: bool) -> None:
    run = find_run(opened.store, run_id)
    if run is None:
        return
    if was_live and run.status in ENDED:
        st.rerun()  # the page around it has something new to offer
    st.subheader(f"Run {run.id} · {escape(run.name)}", anchor=False)
    st.markdown(f"{status_line(run)} {KINDS.get(run.kind, run.kind)} · {_lineage(run)}")
    numbers = metrics(opened.store, run.id)
    _progress(run, numbers)
    if run.error:
        st.error(escape(run.error))
    if numbers:
        st.plotly_chart(_curves(numbers), key=f"curves-{run.id}", config={"displaylogo": False})
    _actions(opened, run)
    log = launcher.read_log(opened, run)
    st.caption("Log")
    st.code(log[-6000:] or "Nothing yet.", language=None, height=220, wrap_lines=True)


def _lineage(run: Run) -> str:
    source = run.params.get("correspondence") or run.params.get("dataset") or ""
    with_encoder = f" with {run.params['encoder']}" if run.params.get("encoder") else ""
    return f"from **{escape(source)}**{escape(with_encoder)}"


def _progress(run: Run, numbers: list[tuple[int, str, float]]) -> None:
    waiting = "Waiting for the runs before it" if run.status == "queued" else run.phase
    st.progress(
        share_done(run), text=f"{waiting or 'Starting'}: {run.progress:,} of {run.total:,}" if run.total else waiting
    )
    if run.status in LIVE and run.heartbeat_at is not None:
        silent = (now() - run.heartbeat_at).total_seconds()
        if silent > 20:
            st.warning(f"No heartbeat for {silent:.0f} s.")
    if not numbers:
        return
    latest = {name: value for _, name, value in numbers}
    shown = [("Loss", f"{latest['loss']:.3f}"), ("Learning rate", f"{latest['learning_rate']:.2e}")]
    shown.append(("Photos/s", f"{_recent(numbers, 'images_per_second'):.1f}"))
    if run.status == "running" and run.started_at and run.progress:
        rate = _recent(numbers, "images_per_second") / run.params["config"]["batch_size"]
        shown.append(("Time left", duration((run.total - run.progress) / rate)))
    elif run.started_at and run.ended_at:
        shown.append(("Took", duration((run.ended_at - run.started_at).total_seconds())))
    for column, (label, value) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(label, value)


def _recent(numbers: list[tuple[int, str, float]], name: str) -> float:
    values = [value for _, n, value in numbers if n == name][-20:]
    return len(values) / sum(1 / v for v in values)  # harmonic: each step has as many photos


def _curves(numbers: list[tuple[int, str, float]]) -> go.Figure:
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.06)
    table = pd.DataFrame(numbers, columns=["step", "name", "value"])
    for name, series in table.groupby("name"):
        if name not in COLOURS and name != "learning_rate":
            continue
        thinned = series.iloc[:: max(1, len(series) // POINTS)]
        line = {"color": COLOURS.get(str(name), "#888888"), "width": 2 if name == "loss" else 1.3}
        label = str(name).replace("loss_", "").replace("learning_rate", "learning rate")
        mode = "lines+markers" if len(thinned) < 30 else "lines"  # one point alone makes no line
        trace = go.Scatter(x=thinned["step"], y=thinned["value"], name=label, mode=mode, line=line)
        figure.add_trace(trace, row=2 if name == "learning_rate" else 1, col=1)
    figure.update_yaxes(title_text="loss", row=1, col=1)
    figure.update_yaxes(title_text="learning rate", tickformat=".1e", nticks=3, row=2, col=1)
    figure.update_xaxes(title_text="step", row=2, col=1)
    figure.update_layout(
        height=360,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        legend={"orientation": "h", "y": 1.12, "x": 0},
        hovermode="x unified",
        uirevision="keep",  # a refresh leaves zoom and hidden curves alone
    )
    return figure


def _actions(opened: Workspace, run: Run) -> None:
    with st.container(horizontal=True):
        if run.status in ("queued", "running"):
            st.button(
                "Stop", icon=":material/stop_circle:", on_click=_try, args=(launcher.request_stop, opened, run.id)
            )
            st.caption("It stops after the current step and keeps a checkpoint.")
        elif run.status == "stopping":
            st.button("Force kill", icon=":material/dangerous:", on_click=_try, args=(launcher.kill, opened, run.id))
            st.caption("Stopping; kill it only if it hangs. The last checkpoint stays.")
        elif run.status != "done":
            st.button("Resume", icon=":material/resume:", on_click=_try, args=(launcher.resume, opened, run.id))
            st.caption("It goes on from its last checkpoint.")
        elif run.kind != "mine":
            st.success(
                f"The encoder **{escape(run.name)}** is ready: mine with it on the Explore page, under *Mine …*.",
                icon=":material/check:",
            )


def _try(action: Callable[[Workspace, int], Run], opened: Workspace, run_id: int) -> None:
    try:
        action(opened, run_id)
    except (UserError, StoreError) as mistake:
        st.toast(str(mistake))


def history(opened: Workspace) -> None:
    """All runs, newest first; a click shows one."""
    every = runs(opened.store)
    if not every:
        return
    st.subheader("All runs", anchor=False)
    table = pd.DataFrame(
        {
            "run": [r.id for r in every],
            "kind": [KINDS.get(r.kind, r.kind) for r in every],
            "makes": [r.name for r in every],
            "from": [r.params.get("correspondence") or r.params.get("dataset") for r in every],
            "status": [r.status for r in every],
            "progress": [share_done(r) for r in every],
            "started (UTC)": [r.started_at for r in every],
            "took": [
                duration((r.ended_at - r.started_at).total_seconds()) if r.ended_at and r.started_at else ""
                for r in every
            ],
        }
    )
    picked = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="runs",
        column_config={"progress": st.column_config.ProgressColumn("progress", format="percent")},
    )
    rows = picked["selection"]["rows"]
    if rows and st.query_params.get("run") != str(every[rows[0]].id):
        st.query_params["run"] = str(every[rows[0]].id)
        st.rerun()


def duration(seconds: float) -> str:
    """Seconds as a person says it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:,.0f} days"
