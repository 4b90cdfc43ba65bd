"""Regenerate: mine the whole dataset with the current settings. Estimated cost, progress and result."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer import preview
from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.tuning import Tuner, stored_ids
from orl_explorer.app.pages import launching, shell
from orl_explorer.app.pages.forms import URL, MiningPanel, free_name
from orl_explorer.app.pages.pace import told_of_run
from orl_explorer.app.pages.shell import Place, attempt, escape, share_done
from orl_explorer.app.pages.train.monitor import duration
from orl_explorer.db.models import CorrespondenceSet, Run
from orl_explorer.db.photos import digests_of
from orl_explorer.db.proposals import missing_proposals
from orl_explorer.db.runs.runs import LIVE, find_run
from orl_explorer.train.jobs import launcher
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.cost import MiningWork, estimate_mining
from orl_explorer.train.settings import differences
from orl_explorer.train.words import plural

RUN = "mining"  # URL parameter: the run whose progress is shown


def button(place: Place, subject: PreviewSubject, tuner: Tuner, panel: MiningPanel) -> None:
    """Draw a button that mines the whole dataset with the current settings, unless the server is read-only."""
    if shell.read_only():
        return
    pressed = st.button(
        "Regenerate …",
        key="tune-regenerate",
        type="primary",
        icon=":material/autorenew:",
        help="Mine the whole dataset with these settings into a new set.",
    )
    if pressed:
        _confirm(place, subject, tuner, panel.asked())


@st.dialog("Regenerate for the whole dataset", width="medium")
def _confirm(place: Place, subject: PreviewSubject, tuner: Tuner, config: MineConfig) -> None:
    changed = differences(config, tuner.own)
    st.markdown("\n".join(f"- {escape(c)}" for c in changed) or "No changes: the settings of the set on screen.")
    st.caption(_cost(subject, tuner, config))
    name = st.text_input("Name of the new set", value=free_name(subject, config), key="tune-name")
    if st.button("Start run", type="primary", icon=":material/play_arrow:", key="tune-start"):
        ids = {"dataset_id": subject.dataset.id, "encoder_id": subject.encoder.id}
        run = launching.started(place.workspace, lambda: Mine(name=name.strip(), config=config, **ids))
        if run is not None:
            st.query_params[RUN] = str(run.id)
            st.session_state["regenerated"] = run.name
            st.rerun()


def _cost(subject: PreviewSubject, tuner: Tuner, config: MineConfig) -> str:
    """Describe the work, its duration and its disk space, estimated from the sample."""
    dataset, store = subject.dataset, subject.workspace.store
    photos = dataset.image_count
    tried = tuner.tried(config)
    if not tuner.proposed(tried) or tuner.unmapped(tried):
        rois, raw, pairs = tuner.saved[1].value("rois") or 0.0, 0.0, tuner.saved[1].measures["pairs_per_image"]
        new, guessed = rois, True
    else:
        numbers = tuner.numbers(tried)
        rois, raw = numbers.value("rois") or 0.0, numbers.value("raw") or 0.0
        pairs = numbers.measures["pairs_per_image"]
        guessed = tried != config
        new = rois if guessed else tuner.unstored(config) / len(tuner.queries)
    ids = stored_ids(subject)
    unseen = max(0, photos - len(ids))
    proposals = 0
    if config.searches:
        proposals = len(missing_proposals(store, ids.tolist(), config.method)) + unseen
    maps = boxed = 0
    if config.needs_objectness:
        maps = preview.set_attention(subject).unstored(digests_of(store, ids)) + unseen
    if config.maps_boxes:
        boxed = preview.set_map_boxes(subject).unstored(digests_of(store, ids)) + unseen
    work = MiningWork(
        photos=photos,
        proposals=proposals,
        maps=maps,
        rois=round(new * photos),
        rows=round((rois + new + pairs) * photos),
        raw_boxes=round(raw * proposals),
        map_boxes=boxed,
    )
    cost = estimate_mining(store, subject.encoder, config, work)
    searched = (
        f"Selective search on {plural(proposals, 'photo')}"
        if proposals
        else f"No selective search{': raw boxes are stored' if config.proposals != 'map' else ''}"
    )
    embedded = f"embedding of about {plural(work.rois, 'RoI')}" if work.rois else "no embedding"
    mapped = f"; attention maps of {plural(maps, 'photo')}" if maps else ""
    mapped += f"; boxes on the maps of {plural(boxed, 'photo')}" if boxed else ""
    source = "at the speed of earlier runs" if cost.measured else "a rough estimate: no earlier run was measured"
    how = "if all RoIs are new, as many as in the sample" if guessed else f"from {len(tuner.queries)} queries"
    return (
        f"{searched}{mapped}; {embedded} ({how}). About **{duration(cost.seconds)}** for {plural(photos, 'photo')} "
        f"({source}), and **{cost.disk_bytes / 1e6:,.0f} MB** of disk."
    )


def progress(place: Place, mined: CorrespondenceSet) -> None:
    """Draw the progress or the result of the run in the URL."""
    asked = shell.as_id(st.query_params.get(RUN, ""))
    run = None if asked is None else find_run(place.workspace.store, asked)
    if run is None or run.kind != "mine":
        return
    with st.container(border=True):
        if run.status in LIVE:
            st.fragment(_live, run_every=1.0)(place, run.id)
        else:
            _ended(place, mined, run)


def _live(place: Place, run_id: int) -> None:
    run = find_run(place.workspace.store, run_id)
    if run is None or run.status not in LIVE:
        st.rerun()  # the new set can be selected now
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(share_done(run), text=f"{escape(run.name)} · {told_of_run(run)}")
        if not shell.read_only() and run.status != "stopping":
            st.button(
                "Stop run",
                key="tune-cancel",
                icon=":material/stop_circle:",
                on_click=attempt,
                args=(launcher.request_stop, place.workspace, run.id),
            )


def _ended(place: Place, mined: CorrespondenceSet, run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if run.status == "done":
            st.markdown(f":green-badge[done] The set **{escape(run.name)}** is ready.")
            if run.name != mined.name:
                st.button("Show the new set", key="tune-show", type="primary", on_click=_show, args=(run.name,))
                if shell.has_page("compare") and st.button(
                    "Compare both sets", key="tune-compare", icon=":material/difference:"
                ):
                    shell.open_comparison(mined.name, run.name)
        else:
            said = f": {escape(run.error)}" if run.error else ""
            st.markdown(f"{shell.status_line(run)} Run {run.id}, {escape(run.name)}{said}")
            if not shell.read_only():
                st.button(
                    "Resume run",
                    key="tune-resume",
                    icon=":material/resume:",
                    on_click=attempt,
                    args=(launcher.resume, place.workspace, run.id),
                )
        st.button("Close", key="tune-close", type="tertiary", on_click=_close)


def _close() -> None:
    st.query_params.pop(RUN, None)


def _show(name: str) -> None:
    """Callback: select the new set and reset the controls to its settings."""
    st.session_state["set"] = name
    shell.drop_from_url(*URL.values(), RUN)
