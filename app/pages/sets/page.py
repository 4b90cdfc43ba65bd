"""The page Sets: all correspondence sets of the workspace; details, downloads, renaming and deletion of one."""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from orl_explorer.app.explorer.measures import with_chance
from orl_explorer.app.pages import shell, start
from orl_explorer.app.pages.measured import tabs_of_measures
from orl_explorer.app.pages.sets.share import share_button
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.records import skipped_duplicates, states
from orl_explorer.app.server.downloads import export_url
from orl_explorer.db.encoders import encoders
from orl_explorer.db.lost import lost_of_set
from orl_explorer.db.models import CorrespondenceSet, Encoder
from orl_explorer.db.photos import datasets
from orl_explorer.db.runs.runs import LIVE, find_run, runs
from orl_explorer.db.sets.manage import Dependents, deleted_sets, dependents
from orl_explorer.db.sets.read import set_by_id, sets
from orl_explorer.train.jobs import sets as work
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.quality import is_outdated, kept_measures, quality_of
from orl_explorer.train.settings import as_text, control
from orl_explorer.train.words import plural

# Links to other pages: page, label, icon. Only pages that exist are offered.
WAYS = (
    ("explore", "Photos", ":material/photo_library:"),
    ("matches", "Matches", ":material/grid_view:"),
    ("pair", "Pair", ":material/compare:"),
    ("judge", "Judge pairs", ":material/gavel:"),
    ("compare", "Compare", ":material/difference:"),
    ("tune", "Tune", ":material/tune:"),
    ("train", "Train", ":material/model_training:"),
)
FORMATS = {
    "reference": ("Reference files, zip", "Proposals, neighbours and pairs as JSON files of the reference code."),
    "parquet": ("Pairs, Parquet", "One row per pair: photos, boxes, ranks, similarity, margin, cycle."),
    "csv": ("Pairs, CSV", "The same rows as text."),
    "coco": ("RoIs, COCO json", "One annotation per RoI."),
    "verdicts": ("Verdicts, CSV", "People's verdicts on the pairs of this set."),
    "tags": ("Tags, CSV", "People's tags on photos and pairs."),
    "settings": ("Settings, JSON", "The settings of the mining run."),
    "archive": ("Whole set, archive", "Everything but the photos, to import with orl import archive where they are."),
}
BLUE, GREY = "#0072B2", "#999999"


def page() -> None:
    """Draw the page."""
    place = shell.pick()
    if place.dataset is None:
        start.empty_workspace(place)
        return
    st.title("Sets & exports", anchor=False)
    every = sets(place.workspace.store, complete_only=False)
    if not every:
        start.unmined(place, place.dataset)
        return
    _table(place, [s for s in every if s.status == "complete"])
    _unfinished(place, [s for s in every if s.status != "complete"])
    if place.mined is not None:
        _details(place, place.mined)
    _deleted(place)


def _table(place: Place, complete: list[CorrespondenceSet]) -> None:
    if not complete:
        return
    names = {d.id: d.name for d in datasets(place.workspace.store)}
    by = {e.id: e for e in encoders(place.workspace.store)}
    shown = [{"set": s.name} | _row(s, names[s.dataset_id], by[s.encoder_id]) for s in complete]
    shares = {
        "consistent": "Share of pairs where the key's nearest RoI in the query photo is the query RoI",
        "same class": "Share of pairs whose RoIs match annotated objects of the same class",
        "… by chance": "Share of same class for RoIs drawn at random from the same photos",
        "query is object": "Share of pairs whose query RoI matches an annotated object",
    }
    columns: dict[str, Any] = {
        name: st.column_config.NumberColumn(help=about, format="%.1f %%") for name, about in shares.items()
    }
    columns |= {name: st.column_config.NumberColumn(format="localized") for name in ("photos", "RoIs", "pairs")}
    columns["differs from paper"] = st.column_config.TextColumn(width="medium")
    columns["mined (UTC)"] = st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")
    st.session_state["listed_sets"] = [(names[s.dataset_id], s.name) for s in complete]
    st.dataframe(
        pd.DataFrame(shown).dropna(axis="columns", how="all"),
        hide_index=True,
        key="sets-table",
        on_select=_pick_row,
        selection_mode="single-row",
        column_config=columns,
        height=min(38 + 35 * len(complete), 400),
    )
    st.caption("Select a row to show its set below.")


def _row(mined: CorrespondenceSet, dataset: str, encoder: Encoder) -> dict[str, Any]:
    percent = {name: 100 * value for name, value in kept_measures(mined).items()}
    return {
        "dataset": dataset,
        "encoder": f"{encoder.name}{' (supervised)' if encoder.supervised else ''}",
        "differs from paper": differs(mined) or "–",
        "photos": mined.image_count,
        "RoIs": mined.candidate_count,
        "pairs": mined.pair_count,
        "consistent": percent.get("cycle"),
        "same class": percent.get("same_class"),
        "… by chance": percent.get("same_class_chance"),
        "query is object": percent.get("query_is_object"),
        "mined (UTC)": mined.created_at,
    }


def differs(mined: CorrespondenceSet) -> str:
    """Describe the settings of a set that differ from the paper's, in one line."""
    return ", ".join(
        f"{control(MineConfig, name).term} {as_text(own)}"
        for name, (own, _) in work.differences_from_paper(mined).items()
    )


def _details(place: Place, mined: CorrespondenceSet) -> None:
    affected = dependents(place.workspace.store, mined.id)
    st.subheader(shell.escape(mined.name), anchor=False, divider="gray")
    st.caption(shell.escape(shell.describe_set(place.workspace, mined)))
    if left_out := states((mined.summary or {}).get("left_out", {})):
        st.caption(f"Photos of the dataset that it left out: {left_out}.")
    if lost := states(lost_of_set(place.workspace.store, mined.id)):
        st.caption(f":red[Photos lost since it was mined: {lost}.] It keeps their boxes and pairs.")
    if skipped := skipped_duplicates(mined):
        st.caption(f"Near-duplicates: {skipped}")
    with st.container(horizontal=True, vertical_alignment="center"):
        for name, label, icon in WAYS:
            if shell.has_page(name) and st.button(label, icon=icon, key=f"to-{name}"):
                shell.open_page(name)
        share_button(place, mined)
        if not shell.read_only():
            _rename(mined, affected)
            _delete(mined, affected)
    _exports(mined)
    left, right = st.columns(2, gap="large")
    with left:
        _histogram(mined)
    with right:
        _lineage(place, mined, affected)
        _settings(mined)
    _quality(mined)


def _exports(mined: CorrespondenceSet) -> None:
    st.markdown("**Download**")
    with st.container(horizontal=True, gap="small"):
        for form, (label, about) in FORMATS.items():
            st.link_button(label, export_url(mined.id, form), icon=":material/download:", help=about)
    st.caption(f"In a terminal: {shell.code(f'orl export {quote(mined.name)} --format reference --out FOLDER')}.")


def _quality(mined: CorrespondenceSet) -> None:
    st.markdown("**Quality**")
    measures = kept_measures(mined)
    if not measures or is_outdated(mined):
        _offer_to_measure(mined, "An earlier version measured this set." if measures else "Not measured yet.")
    if not measures:
        return
    if not measures.get("annotated_objects"):
        st.caption("The photos have no annotations, so measures of objects are missing.")
    groups = {
        group: [(m.label, f"{m.value:,.4g}", "" if m.chance is None else f"{m.chance:,.4g}", m.meaning) for m in some]
        for group, some in with_chance(measures).items()
    }
    tabs_of_measures(("", "Value", "By chance", "Meaning"), groups)


def _offer_to_measure(mined: CorrespondenceSet, why: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"{why} Measure it with {shell.code(f'orl quality {quote(mined.name)}')}.", icon=":material/info:")
        if not shell.read_only():
            st.button("Measure now", key=f"measure-{mined.id}", on_click=_on_measure, args=(mined.name,))


def _histogram(mined: CorrespondenceSet) -> None:
    counts = (mined.summary or {}).get("similarity") or []
    if not any(counts):
        return
    st.markdown("**Similarity of pairs**")
    width = 2 / len(counts)
    used = [i for i, count in enumerate(counts) if count]
    bins = range(max(0, used[0] - 1), min(len(counts), used[-1] + 2))
    figure = go.Figure(
        go.Bar(
            x=[-1 + width * (i + 0.5) for i in bins],
            y=[counts[i] for i in bins],
            width=width * 0.96,
            marker_color=BLUE,
            hovertemplate="%{y:,} pairs around %{x:.2f}<extra></extra>",
        )
    )
    least = float(mined.params.get("min_similarity", -1))
    if least > -1:
        figure.add_vline(least, line_color=GREY, line_dash="dash", annotation_text="threshold")
    figure.update_layout(height=200, margin={"l": 10, "r": 10, "t": 10, "b": 10}, bargap=0)
    figure.update_xaxes(title_text="cosine")
    figure.update_yaxes(title_text="pairs", nticks=4)
    peak = -1 + width * (max(bins, key=lambda i: counts[i]) + 0.5)
    st.plotly_chart(
        figure,
        key="similarity-histogram",
        config={"displayModeBar": False},
        alt=f"Histogram of the similarity of {plural(mined.pair_count, 'pair')}; most are around {peak:.2f}.",
    )


def _settings(mined: CorrespondenceSet) -> None:
    different = work.differences_from_paper(mined)
    with st.expander(f"Settings: {shell.escape(differs(mined)) or 'the paper’s'}", icon=":material/settings:"):
        st.dataframe(
            {
                "setting": [control(MineConfig, name).label for name in mined.params],
                "value": [as_text(value) for value in mined.params.values()],
                "paper": [as_text(different[name][1]) if name in different else "" for name in mined.params],
            },
            hide_index=True,
            key="set-settings",
        )


def _lineage(place: Place, mined: CorrespondenceSet, affected: Dependents) -> None:
    encoder = next(e for e in encoders(place.workspace.store) if e.id == mined.encoder_id)
    lines = [f"Mined with **{shell.escape(shell.encoder_label(encoder))}**, run {mined.run_id}"]
    run_of_set = None if mined.run_id is None else find_run(place.workspace.store, mined.run_id)
    if run_of_set is not None and (digest := run_of_set.params.get("archived")):
        lines.append(f"Mined elsewhere, and imported from an archive; digest {shell.code(str(digest))}")
    made = {e.run_id: e for e in affected.encoders}
    for run in affected.trained + [r for r in affected.live if r.kind != "mine"]:
        became = f" → encoder **{shell.escape(made[run.id].name)}**" if run.id in made else ""
        lines.append(f"Run {run.id}, {shell.escape(run.name)}, trained on it {shell.status_line(run)}{became}")
    if not affected.trained and not affected.live:
        lines.append("No encoder was trained on it yet")
    if affected.compared:
        lines.append(f"Compared with {', '.join(map(shell.escape, affected.compared))}")
    if affected.verdicts:
        lines.append(f"{affected.verdicts:,} of its pairs have a verdict")
    st.markdown("**Lineage**\n" + "\n".join(f"- {line}" for line in lines))


def _rename(mined: CorrespondenceSet, affected: Dependents) -> None:
    with st.popover("Rename …", icon=":material/edit:", disabled=bool(affected.live)):
        st.text_input("New name", value=mined.name, key=f"rename-{mined.id}")
        st.button("Rename set", type="primary", on_click=_on_rename, args=(mined.id, mined.name))


def _delete(mined: CorrespondenceSet, affected: Dependents) -> None:
    with st.popover("Delete …", icon=":material/delete:", width="content"):
        if affected.live:
            live = affected.live[0]
            st.warning(f"Run {live.id} ({shell.escape(live.name)}) uses this set. Wait until it ends, or stop it.")
            return
        st.markdown("\n".join(f"- {line}" for line in consequences(mined, affected)))
        if affected.trained:
            st.text_input(f"To confirm, type the name {shell.code(mined.name)}", key=f"confirm-{mined.id}")
        st.button(
            f"Delete {shell.escape(mined.name)}",
            type="primary",
            icon=":material/delete_forever:",
            on_click=_on_delete,
            args=(mined.id, mined.name),
        )


def consequences(mined: CorrespondenceSet, affected: Dependents) -> list[str]:
    """List the consequences of deleting a set."""
    lines = [
        f"Deletes {plural(mined.pair_count, 'pair')} of {plural(mined.image_count, 'photo')}. You cannot undo this."
    ]
    if affected.trained:
        ids = ", ".join(str(run.id) for run in affected.trained)
        lines.append(f"Runs trained on it: {ids}. Each keeps a copy of its pairs in its folder.")
        if any(run.status != "done" for run in affected.trained):
            lines.append("Runs that are not done cannot be resumed afterwards.")
    if affected.encoders:
        lines.append(f"Keeps the encoders trained on it: {', '.join(shell.escape(e.name) for e in affected.encoders)}.")
    if affected.compared:
        lines.append(f"Deletes the comparisons with {', '.join(map(shell.escape, affected.compared))}.")
    if affected.verdicts:
        lines.append(f"Keeps verdicts on {affected.verdicts:,} of its pairs. They apply to any set with these RoIs.")
    return lines


def _unfinished(place: Place, unfinished: list[CorrespondenceSet]) -> None:
    live = {run.id for run in runs(place.workspace.store, LIVE)}
    for mined in unfinished:
        name, going_on = shell.escape(mined.name), mined.run_id in live
        with st.container(horizontal=True, vertical_alignment="center"):
            state = "is being mined" if going_on else "was left unfinished"
            st.markdown(f":material/hourglass_top: **{name}** {state} by run {mined.run_id}.", width="content")
            if not going_on and not shell.read_only():
                st.button(
                    "Delete set",
                    key=f"drop-{mined.id}",
                    type="tertiary",
                    icon=":material/delete:",
                    help="Delete the unfinished set. If you resume its run, the run mines the set again.",
                    on_click=_on_delete,
                    args=(mined.id, mined.name),
                )


def _deleted(place: Place) -> None:
    gone = deleted_sets(place.workspace.store)
    if gone:
        with st.expander(f"Deleted sets ({len(gone)})"):
            st.dataframe(
                {
                    "set": [g.name for g in gone],
                    "pairs": [g.pair_count for g in gone],
                    "mined (UTC)": [g.created_at for g in gone],
                    "deleted (UTC)": [g.deleted_at for g in gone],
                    "by": [g.author for g in gone],
                },
                hide_index=True,
                key="deleted-sets",
            )


# Callbacks ---------------------------------------------------------------------------------------------


def _pick_row() -> None:
    rows = st.session_state["sets-table"]["selection"]["rows"]
    listed = st.session_state.get("listed_sets", [])
    if rows and rows[0] < len(listed):
        st.session_state["data"], st.session_state["set"] = listed[rows[0]]


def _on_rename(set_id: int, name: str) -> None:
    new = str(st.session_state.get(f"rename-{set_id}", "")).strip()
    if attempted(lambda: work.rename(shell.workspace(), name, new)):
        renamed = set_by_id(shell.workspace().store, set_id)
        stored = renamed.name if renamed is not None else new  # a name has no two spaces in a row
        st.session_state["set"] = st.session_state[f"rename-{set_id}"] = stored
        st.toast(f"Renamed to {shell.escape(stored)}.", icon=":material/check:")


def _on_measure(name: str) -> None:
    attempted(lambda: quality_of(shell.workspace(), name))


def _on_delete(set_id: int, name: str) -> None:
    confirmed = str(st.session_state.get(f"confirm-{set_id}", "")).strip()
    if attempted(lambda: work.delete(shell.workspace(), name, confirmed)):
        for picked in ("set", "picked_set"):  # the pickers need not tell of it too
            st.session_state.pop(picked, None)
        st.toast(f"Deleted {shell.escape(name)}.", icon=":material/check:")


def attempted(action: Callable[[], object]) -> bool:
    """Perform an action unless the server is read-only. Show an error as a toast."""
    if shell.read_only():
        return False
    with st.spinner("Working …", show_time=True):  # millions of rows take a while
        return shell.succeeds(action)
