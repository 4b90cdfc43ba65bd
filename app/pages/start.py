"""First steps in an empty workspace and with a dataset that has no set."""

from __future__ import annotations

import html
from pathlib import PurePosixPath

import streamlit as st

from orl_explorer.app.explorer.opened import read_only
from orl_explorer.app.explorer.paths import allowed_path
from orl_explorer.app.explorer.proposed import first_rois
from orl_explorer.app.pages import launching
from orl_explorer.app.pages.adding import ask_for_photos
from orl_explorer.app.pages.boxed import boxed_photo
from orl_explorer.app.pages.pace import told_of_run
from orl_explorer.app.pages.shell import Place, attempt, code, encoder_label, escape, share_done
from orl_explorer.db.encoders import encoder_named, encoders
from orl_explorer.db.models import CorrespondenceSet, Dataset
from orl_explorer.db.runs.runs import LIVE, runs
from orl_explorer.db.store import StoreError
from orl_explorer.train.demo.build import SCENES, SET, build_demo
from orl_explorer.train.errors import UserError
from orl_explorer.train.jobs.datasets import Accepted, move_photos
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.launcher import request_stop
from orl_explorer.train.lost import moving
from orl_explorer.train.mining.config import MINE_PRESETS, PRESET_HELP, MineConfig
from orl_explorer.train.settings import choices, control, explained, limits
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

SCALES = {1.0: "full size (paper)", 0.5: "half size (5 × faster)"}
LIKE = "like"  # the choice of the settings of a set, beside the names of presets


def empty_workspace(place: Place) -> None:
    """Offer to build the demo or to add photos."""
    if read_only():
        st.info("This server is read-only. Its workspace has no photos.", icon=":material/lock:")
        return
    st.title("Find the same objects across your photos")
    st.markdown(
        "ORL finds matching regions in similar photos. Most of them show objects, and object-level training learns "
        "from them without labels. Start with the demo or with your own photos."
    )
    left, right = st.columns(2, gap="large")
    with left, st.container(border=True, height="stretch"):
        st.subheader("Try the demo")
        st.markdown(f"{SCENES} synthetic scenes with their matches. Ready in two or three minutes, without a network.")
        if st.button("Build the demo", type="primary", icon=":material/play_arrow:"):
            _build(place.workspace)
    with right, st.container(border=True, height="stretch"):
        st.subheader("Add your photos")
        ask_for_photos(place.workspace)


def ask_where_photos_are(opened: Workspace, dataset: Dataset, problem: str) -> None:
    """Say that the folder of a dataset is not there, and draw a form that names another."""
    before, command, after = problem.partition(f"`{moving(dataset.name)}`")
    shown = escape(before) + (code(command[1:-1]) if command else "") + escape(after)
    st.warning(shown, icon=":material/folder_off:")
    if read_only():
        return
    with st.expander("The photos are elsewhere", icon=":material/drive_file_move:"), st.form(f"move-{dataset.id}"):
        path = st.text_input("Folder that holds the photos now", placeholder=dataset.root)
        accepted: dict[Accepted, bool] = {
            "missing": st.checkbox("Mark photos as gone that are not there"),
            "different": st.checkbox("Move although photos differ; the next ingest reads them again"),
        }
        check = st.checkbox("Compare the content of all photos, not of a sample")
        if not st.form_submit_button("Move dataset", icon=":material/drive_file_move:"):
            return
    if not path.strip():
        st.error("Enter the folder that holds the photos now.")
        return
    try:
        with st.status("Comparing photos …") as status:
            found = move_photos(
                opened,
                dataset.name,
                allowed_path(path),
                check=check,
                accept=[state for state, asked in accepted.items() if asked],
                report=lambda done, total: status.update(label=f"Comparing photos … {done:,} of {total:,}"),
            )
    except (UserError, StoreError) as mistake:
        st.error(escape(str(mistake)))
        return
    st.toast(
        f"The photos are in {escape(str(found.root))} now: {len(found.stamps):,} there, {len(found.missing):,} gone."
    )
    st.rerun()


def _build(opened: Workspace) -> None:
    bar = st.progress(0.0, text="Composing scenes …")

    def report(done: int, total: int) -> None:
        bar.progress(done / total, text=f"Composing scenes … {done} of {total}")

    try:
        build_demo(opened, report)
    except (UserError, StoreError) as mistake:
        st.error(escape(str(mistake)))
        return
    st.rerun()


def unmined(place: Place, dataset: Dataset) -> None:
    """For a dataset without a set, show its mining run, or a form that starts one."""
    opened = place.workspace
    mining = [r for r in runs(opened.store, LIVE) if r.kind == "mine" and r.dataset_id == dataset.id]
    if mining:
        _watch(opened, dataset.id)
        return
    if read_only():
        st.info("This server is read-only. This dataset has no correspondence set.", icon=":material/lock:")
        return
    with st.container(border=True):
        st.subheader("Mine correspondences")
        st.markdown("Find neighbours, RoIs and pairs. You can tune all settings afterwards.")
        mine_form(opened, dataset)
    _show_first_rois(opened, dataset)


def _show_first_rois(opened: Workspace, dataset: Dataset) -> None:
    """Draw what there is to match, before anything is mined."""
    found = first_rois(opened, dataset.id)
    if not found:
        return
    st.subheader("RoIs that mining would compare", anchor=False)
    st.caption("The first photos, by the preset paper at full size. Nothing is stored.")
    figures = ""
    for one in found:
        name = html.escape(PurePosixPath(one.image.path).name)
        rois = plural(len(one.boxes), "RoI")
        photo = boxed_photo(one.image, one.boxes, f"{name} with {rois}", 14)
        figures += f"<figure>{photo}<figcaption>{name} · {rois}</figcaption></figure>"
    st.html(f'<div class="first-rois">{figures}</div>')


def offer_starter(opened: Workspace) -> None:
    """Draw a button that adds the starter encoder."""
    if st.button("Add the starter encoder", type="primary"):
        from orl_explorer.train.encoders.weights import add

        add(opened, "starter", "starter")
        st.rerun()


def mine_form(opened: Workspace, dataset: Dataset, encoder: str = "", like: CorrespondenceSet | None = None) -> None:
    """Draw a form that starts stage 2. encoder: name of the encoder that is selected at first.

    like: a set whose settings are offered beside the presets', and selected at first.
    """
    known = {encoder_label(e): e.name for e in encoders(opened.store)}
    if not known:
        st.markdown(
            "No encoder yet. Add the starter encoder, which is small, needs no download and was trained "
            "**with labels** (ImageNet). Or train one without labels on the *Train* page."
        )
        offer_starter(opened)
        return
    with st.form("mine", border=False):
        first = next((n for n, known_name in enumerate(known.values()) if known_name == encoder), 0)
        label = st.selectbox("Encoder", list(known), index=first)
        name = st.text_input("Name of the new set", placeholder="DATASET-ENCODER")
        starts = MINE_PRESETS if like is None else {LIKE: MineConfig.of(like)} | MINE_PRESETS
        usual = next(iter(starts))
        preset = st.segmented_control(
            "Settings",
            list(starts),
            default=usual,
            required=True,
            format_func=lambda name: f"as {escape(like.name)}" if like and name == LIKE else name,
            help=" ".join(f"{name}: {text}." for name, text in PRESET_HELP.items()),
        )
        scale = st.segmented_control(
            control(MineConfig, "proposal_scale").label,
            sorted({*choices(MineConfig, "proposal_scale"), starts[usual].proposal_scale}, reverse=True),
            default=starts[usual].proposal_scale,
            required=True,
            format_func=lambda scale: SCALES.get(scale, f"{scale:g} × its size"),
        )
        neighbors = st.number_input(
            control(MineConfig, "neighbors").label,
            *limits(MineConfig, "neighbors"),
            starts[usual].neighbors,
            help=explained(MineConfig, "neighbors"),
            key=f"mine-neighbors-{dataset.id}-{like.id if like else 0}",
        )
        if st.form_submit_button("Mine set", type="primary", icon=":material/search:"):
            own = {"proposal_scale": scale, "neighbors": int(neighbors)}
            config = starts[preset or usual].model_copy(update=own)

            def job() -> Mine:
                by = encoder_named(opened.store, known[label])
                ids = {"dataset_id": dataset.id, "encoder_id": by.id}
                return Mine(name=name.strip() or f"{dataset.name}-{by.name}", config=config, **ids)

            run = launching.started(opened, job)
            if run is not None:
                st.session_state["regenerated"] = run.name
                st.rerun()


@st.fragment(run_every=1.5)
def _watch(opened: Workspace, dataset_id: int) -> None:
    mining = [r for r in runs(opened.store, LIVE) if r.kind == "mine" and r.dataset_id == dataset_id]
    if not mining:
        st.rerun()
    run = mining[-1]
    with st.container(border=True):
        st.subheader("Mining" if run.name != SET else "Mining the demo")
        st.progress(share_done(run), text=told_of_run(run))
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.caption("Computes proposals, then features, then pairs. You can browse the photos below meanwhile.")
            if not read_only():
                st.button(
                    "Stop run",
                    key="cancel-mining",
                    icon=":material/stop_circle:",
                    disabled=run.status == "stopping",
                    help="Stop mining. Finished work is kept; resume the run on the Train page.",
                    on_click=attempt,
                    args=(request_stop, opened, run.id),
                )
