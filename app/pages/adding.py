"""Adding photos from the browser: a folder is looked at first, then its photos are taken into a dataset."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from orl_explorer.app.explorer.adding import Adding, Looking, Wanted, latest, start_adding
from orl_explorer.app.explorer.paths import readable_roots
from orl_explorer.app.explorer.reported import reasons
from orl_explorer.app.pages.shell import code, escape, has_page, open_page
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.layouts import LayoutName
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

AT_ONCE = 1.0  # seconds that the form waits for a look or an ingest, so that a small folder needs no progress bar
LAYOUT_HELP = (
    "auto: COCO if there is an annotation file, VOC if there are the folders *JPEGImages* and *Annotations*, else "
    "folder. folder: photos without annotations."
)


def ask_for_photos(opened: Workspace) -> None:
    """Draw a form that adds a folder of this machine as a dataset, in two steps: what is there, and its ingest."""
    with st.form("ingest", border=False):
        wanted = Wanted(
            st.text_input("Folder on this machine", placeholder="/data/my-photos", key="add-folder"),
            st.text_input("Name", placeholder="name of the folder", key="add-name"),
            st.segmented_control(
                "Layout", get_args(LayoutName), default="auto", required=True, help=LAYOUT_HELP, key="add-layout"
            )
            or "auto",
            st.text_input(
                "Annotation file",
                placeholder="COCO json, if it is elsewhere",
                help="Default: the only json in the folder *annotations*. VOC has its files in *Annotations*.",
                key="add-annotations",
            ),
        )
        below = " or ".join(code(str(root)) for root in readable_roots())
        where = f" The folder must be below {below}." if below else ""
        st.caption(f"Photos stay where they are and are never changed.{where}")
        asked = st.form_submit_button("Add photos", icon=":material/add_photo_alternate:")
    if asked:
        st.session_state["adding"] = _look(opened, wanted)
    work = st.session_state.get("adding")
    if isinstance(work, str):
        st.error(escape(work), icon=":material/error:")
    elif work is not None:
        begun = st.session_state.pop("begun", False)
        work.wait(AT_ONCE if asked or begun else 0)
        if work.running:
            _follow(work)
        elif isinstance(work, Looking):
            _show_what_is_there(opened, work)
        else:
            _ended(opened, work)
    elif (other := latest()) is not None and other.running:
        _follow(other)


def _look(opened: Workspace, wanted: Wanted) -> Looking | str:
    """Start to look at a folder, or return the sentence that says why not."""
    return wanted.problem() or Looking(opened, wanted)


def _show_what_is_there(opened: Workspace, work: Looking) -> None:
    """Show what an ingest of a folder would take and leave out, and ask whether to go on."""
    seen = work.found
    if seen is None:
        st.error(escape(work.error or "Stopped."), icon=":material/error:")
        return
    with st.container(border=True):
        photos = f"**{plural(seen.count, 'photo')}** in {code(str(seen.root))}, {seen.layout}"
        st.markdown(f"{photos}, for the dataset **{escape(seen.dataset)}**")
        if seen.known:
            st.caption(f"{plural(seen.known, 'photo')} of them are in it already. Only changed ones are read again.")
        with st.container(horizontal=True, gap="small"):
            for name, picture in seen.pictures:
                st.image(picture, escape(name), width=96)
        if seen.left_out:
            st.markdown("\n".join(f"- {escape(line)}" for line in seen.left_out))
        with st.container(horizontal=True):
            label = f"Add {plural(seen.count, 'photo')}"
            st.button(label, type="primary", key="add-these", on_click=_begin, args=(opened, work.wanted))
            st.button("Not now", key="add-none", on_click=_forget)


def _forget() -> None:
    st.session_state.pop("adding", None)


def _begin(opened: Workspace, wanted: Wanted) -> None:
    """Callback: start the ingest, or keep the sentence that says why not."""
    try:
        st.session_state["adding"] = start_adding(opened, wanted)
        st.session_state["begun"] = True
    except UserError as mistake:
        st.session_state["adding"] = str(mistake)


@st.fragment(run_every=0.5)
def _follow(work: Adding | Looking) -> None:
    """Draw the progress of an ingest, or of the look before it. An ingest continues if the page is left."""
    if not work.running:
        st.rerun()
    if isinstance(work, Looking):
        st.progress(0.0, text="Looking for photos …")
        return
    st.progress(0.0, text=f"Reading photos … {work.done:,}")
    st.button(
        "Stopping …" if work.stopping else "Stop adding photos",
        key="stop-adding",
        icon=":material/stop_circle:",
        disabled=work.stopping,
        on_click=work.stop,
        help="Photos that were read stay in the dataset. Add the folder again to read the others.",
    )
    st.caption("You can leave this page meanwhile.")


def _ended(opened: Workspace, work: Adding) -> None:
    """Show the result of an ingest: its error, its report if it left out or changed anything, or its counts."""
    if work.found is None:
        stopped = "Stopped. Photos that were read stay in the dataset. Add the folder again to read the others."
        st.error(escape(work.error or stopped), icon=":material/error:")
        return
    del st.session_state["adding"]
    found, dataset = work.found, work.found.dataset
    st.session_state["added"] = dataset.name
    if reasons(opened.store, dataset) and has_page("ingest"):
        open_page("ingest")
    counts = f"{found.new:,} new, {found.changed:,} changed, {found.unchanged:,} unchanged"
    st.toast(f"Added {escape(dataset.name)}: {counts}.", icon=":material/check:", duration="long")
    st.rerun()
