"""The form that imports vectors made elsewhere as an encoder: it checks the files and counts first."""

from __future__ import annotations

import streamlit as st

from orl_explorer.app.explorer.importing import Importing, WantedVectors, start_importing
from orl_explorer.app.explorer.paths import readable_roots
from orl_explorer.app.pages.shell import code, escape
from orl_explorer.app.told import import_told
from orl_explorer.db.models import Dataset
from orl_explorer.train.errors import UserError
from orl_explorer.train.workspace import Workspace

AT_ONCE = 1.0  # seconds that the form waits, so that small files need no progress bar
KEY = "importing"  # of the session: the work, or why there is none
FILES_HELP = (
    "*NAME.npy*, an array [rows, D], with *NAME.csv* beside it, or *NAME.parquet*. Columns: *path* or *digest* of the "
    "photo, and for boxes *x*, *y*, *w*, *h* in pixels. Every readable photo needs a vector."
)


def ask_for_vectors(opened: Workspace, dataset: Dataset) -> None:
    """Draw the form, and the progress, the error or the count of what was asked."""
    with st.form("import-vectors", border=False):
        wanted = WantedVectors(
            st.text_area(
                "Files on this machine",
                placeholder="/data/clip/photos.npy\n/data/clip/boxes.npy",
                help=FILES_HELP,
                height=90,
                key="import-files",
            ),
            st.text_input(
                "Name of the encoder",
                placeholder="clip",
                help="The vectors become an encoder without a network, or are added to one that was imported before.",
                key="import-name",
            ),
            st.checkbox("Made by an encoder that was trained with labels", key="import-supervised"),
        )
        below = " or ".join(code(str(root)) for root in readable_roots())
        where = f" The files must be below {below}." if below else ""
        st.caption(f"The files are checked and counted first. They are never changed.{where}")
        asked = st.form_submit_button("Check files", icon=":material/fact_check:")
    if asked:
        _begin(opened, dataset, wanted, only_check=True)
    work = st.session_state.get(KEY)
    if isinstance(work, str):
        st.error(escape(work), icon=":material/error:")
    elif work is not None and work.dataset.id == dataset.id:
        work.wait(AT_ONCE if asked or not work.only_check else 0)
        if work.running:
            _follow(work)
        else:
            _ended(opened, dataset, work)


def _begin(opened: Workspace, dataset: Dataset, wanted: WantedVectors, *, only_check: bool) -> None:
    try:
        st.session_state[KEY] = wanted.problem() or start_importing(opened, dataset, wanted, only_check=only_check)
    except UserError as mistake:
        st.session_state[KEY] = str(mistake)


@st.fragment(run_every=0.5)
def _follow(work: Importing) -> None:
    """Draw the progress. The work continues if the page is left."""
    if not work.running:
        st.rerun()
    st.progress(work.share, text=f"{work.name or 'Reading files'} …")
    if work.only_check:
        st.button("Stop", key="stop-importing", icon=":material/stop_circle:", on_click=work.stop)
    st.caption("You can leave this page meanwhile.")


def _ended(opened: Workspace, dataset: Dataset, work: Importing) -> None:
    """Show the error or the count of a check, with a button that imports, or tell that the import is done."""
    if work.found is None:
        st.error(escape(work.error or "Stopped. Nothing was imported."), icon=":material/error:")
    elif work.only_check:
        st.info(escape(" ".join(import_told(work.found, "to add"))), icon=":material/fact_check:")
        st.button(
            "Import vectors",
            type="primary",
            icon=":material/download:",
            key="import-vectors-now",
            on_click=_begin,
            args=(opened, dataset, work.wanted),
            kwargs={"only_check": False},
            disabled=not work.found.photos + work.found.boxes,
        )
    else:
        del st.session_state[KEY]
        st.toast(escape(" ".join(import_told(work.found))), icon=":material/check:", duration="long")
        st.rerun()
