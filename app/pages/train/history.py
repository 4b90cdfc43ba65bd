"""The table of all runs, with filters and a comparison of the selected runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from orl_explorer.app.explorer.charts import duration, setting_differences
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.shell import share_done
from orl_explorer.app.pages.train import afterwards, curves, monitor
from orl_explorer.db.models import Run
from orl_explorer.db.runs.runs import LIVE, runs, waits_for_worker
from orl_explorer.train.jobs.job import settings_of
from orl_explorer.train.jobs.kinds import KINDS, run_described, subject_of
from orl_explorer.train.provenance import provenance
from orl_explorer.train.workspace import Workspace

LABELS = {kind: job.label for kind, job in KINDS.items()}
STATES = ("queued", "running", "stopping", "done", "failed", "cancelled", "crashed")
MOST = 12  # runs in one chart; the colours of more would be too similar
FACTS = ("host", "device", "git_revision", "processes")  # of an attempt, compared beside the settings


def panel(opened: Workspace) -> None:
    """Draw the table, and the charts of the selected runs."""
    every = runs(opened.store)
    if not every:
        st.info("No runs yet. Launch one to see it here.", icon=":material/history:")
        afterwards.launch_button()
        return
    live = any(run.status in LIVE for run in every)
    st.fragment(_table, run_every=3.0 if live else None)(opened)


def _table(opened: Workspace) -> None:
    if st.session_state.pop("leave", False):
        st.rerun()  # a run was opened: redraw the whole page
    every = runs(opened.store)
    kinds, states, tags = _filters(every)
    shown = [
        r
        for r in every
        if (not kinds or r.kind in kinds) and (not states or r.status in states) and (not tags or tags & set(r.tags))
    ]
    if not shown:
        st.info("No run matches these filters. Clear a filter.", icon=":material/filter_alt_off:")
        return
    ticked = compared_runs(st.query_params.get("compare", ""), shown)
    # Rows are identified by position. If they move, a new table is made, with its selection from the URL.
    key = f"runs-{shown[0].id}-{shown[-1].id}-{len(shown)}"
    st.session_state[f"{key}-ids"] = [run.id for run in shown]
    st.dataframe(
        table_of_runs(shown),
        hide_index=True,
        on_select=lambda: _ticked(key),
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [shown.index(run) for run in ticked]}},
        key=key,
        height=min(420, 38 + 35 * len(shown)),
        alt="All runs, newest first",
        column_config={
            "run": st.column_config.NumberColumn("run", width="small"),
            "progress": st.column_config.ProgressColumn("progress", format="%d %%", min_value=0, max_value=100),
        },
    )
    if not ticked:
        st.caption("Select a run to open it. Select several to compare their settings and curves.")
        return
    with st.container(horizontal=True):
        for run in ticked:
            label = f"Open run {run.id} · {shell.escape(run.name)}"
            st.button(
                label,
                key=f"open-{run.id}",
                icon=":material/open_in_full:",
                on_click=_open,
                args=(run.id,),
                type="tertiary",
            )
    _compare(opened, ticked)


def _filters(every: Sequence[Run]) -> tuple[list[str], list[str], set[str]]:
    tagged = sorted({tag for run in every for tag in run.tags})
    left, right, last = st.columns(3) if tagged else (*st.columns(2), None)
    there = {run.kind for run in every}
    with left:
        kinds = st.pills(
            "Kind",
            [LABELS.get(kind, kind) for kind in (*LABELS, *(there - set(LABELS))) if kind in there],
            selection_mode="multi",
            key="kind",
            bind="query-params",
        )
    with right:
        states = st.pills(
            "Status",
            [state for state in STATES if any(run.status == state for run in every)],
            selection_mode="multi",
            key="status",
            bind="query-params",
        )
    tags: list[str] = []
    if last is not None:
        with last:
            # Not as pills, which would take a tag for Markdown: an escaped one would be written so into the URL.
            tags = st.multiselect("Tag", tagged, key="run_tag", bind="query-params", placeholder="any")
    return [kind for kind in there if LABELS.get(kind, kind) in kinds], list(states), set(tags)


def table_of_runs(shown: Sequence[Run]) -> pd.DataFrame:
    """Return one row per run: kind, product, source, state, progress, duration, and what people say of it."""
    return pd.DataFrame(
        {
            "run": [r.id for r in shown],
            "kind": [run_described(r) for r in shown],
            "makes": [r.name for r in shown],
            "from": [subject_of(r) for r in shown],
            "status": ["waiting for a worker" if waits_for_worker(r) else r.status for r in shown],
            "progress": [round(100 * share_done(r)) for r in shown],
            "started (UTC)": [r.started_at for r in shown],
            "took": ["" if (seconds := monitor.took(r)) is None else duration(seconds) for r in shown],
            "tags": [r.tags for r in shown],
            "note": [r.note for r in shown],
        }
    )


def compared_runs(asked: str, shown: Sequence[Run]) -> list[Run]:
    """Return the runs that ``compare=3-5`` names, of those shown, in that order."""
    by_id = {str(run.id): run for run in shown}
    return [by_id[part] for part in dict.fromkeys(asked.split("-")) if part in by_id]


def _ticked(key: str) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    ids = st.session_state.get(f"{key}-ids", [])
    chosen = [str(ids[row]) for row in rows if row < len(ids)]
    if chosen:
        st.query_params["compare"] = "-".join(chosen)
    else:
        st.query_params.pop("compare", None)


def _open(run_id: int) -> None:
    st.query_params["run"] = str(run_id)
    st.query_params["view"] = "watch"
    st.session_state["leave"] = True


def _compare(opened: Workspace, ticked: list[Run]) -> None:
    if len(ticked) > 1:
        _show_differences(opened, ticked)
    with_numbers = [run for run in ticked if curves.numbers(opened, run)]
    if with_numbers:
        if len(with_numbers) > MOST:
            st.caption(f"Curves of the first {MOST} of {len(with_numbers)} runs: more colours cannot be told apart.")
        curves.draw_curves(opened, with_numbers[:MOST], key="overlay")
    elif len(ticked) > 1:
        st.caption("These runs have no metrics to plot.")


def _show_differences(opened: Workspace, ticked: Sequence[Run]) -> None:
    named = {f"{run.id} · {run.name}": run for run in ticked}
    settings = {name: settings_of(run) for name, run in named.items()}
    where = {name: _where(opened, run) for name, run in named.items()}
    if all(where.values()):  # else versions of runs that recorded none would seem to differ
        settings = {name: values | where[name] for name, values in settings.items()}
    apart = setting_differences(settings)
    if not apart:
        too = " They ran on the same machine, by the same versions." if all(where.values()) else ""
        st.caption(f"These runs have the same settings.{too}")
        return
    frame = pd.DataFrame.from_dict(apart, orient="index", columns=[f"{run.id} · {run.name}" for run in ticked])
    st.markdown(f"**What differs** ({len(apart)})")
    st.dataframe(frame.rename_axis("setting").reset_index(), hide_index=True, alt="What differs")


def _where(opened: Workspace, run: Run) -> dict[str, object]:
    """Return the machine, revision and versions of a run's last attempt; {} if they were not recorded."""
    attempts = provenance(opened.run_folder(run.id)).get("attempts")
    if not attempts:
        return {}
    facts = {name.replace("_", " "): attempts[-1].get(name) for name in FACTS}
    return facts | attempts[-1].get("versions", {})
