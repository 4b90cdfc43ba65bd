"""The button that shares a set: what the folder will hold, then its download."""

from __future__ import annotations

from shlex import quote
from typing import cast

import streamlit as st

from orl_explorer.app.pages import shell
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server.downloads import share_url
from orl_explorer.app.share.choice import MOST, Pictures, ShareRequest, choose
from orl_explorer.db.models import CorrespondenceSet
from orl_explorer.db.people.selections import selections
from orl_explorer.db.store import StoreError
from orl_explorer.train.errors import UserError

AT_FIRST = 500  # photos
PICTURES = {"thumbnails": "at most 640 pixels", "full": "in full size too"}


def share_button(place: Place, mined: CorrespondenceSet) -> None:
    """Draw the button. What the folder would hold is counted when it is pressed."""
    about = "Download this set as a folder that opens in any browser, without a server or a network."
    if st.button("Share …", icon=":material/share:", help=about):
        _dialog(place, mined)


@st.dialog("Share this set", width="medium")
def _dialog(place: Place, mined: CorrespondenceSet) -> None:
    asked = _asked(place, mined)
    try:
        choice = choose(place.workspace, mined.name, asked)
    except (UserError, StoreError) as problem:
        st.warning(shell.escape(str(problem)))
        return
    st.markdown("The folder will hold:\n" + "\n".join(f"- {shell.escape(line)}" for line in choice.described()))
    st.link_button("Download the folder, zip", share_url(mined.id, asked), icon=":material/download:")
    st.caption(f"In a terminal: {shell.code(_command(mined, asked))}.")


def _asked(place: Place, mined: CorrespondenceSet) -> ShareRequest:
    known = list(dict.fromkeys(name for _, name in selections(place.workspace.store, mined.dataset_id)))
    chosen = st.selectbox("Photos of a selection", known, index=None, placeholder="all", key="share-selection")
    most = min(mined.image_count, MOST)
    count = st.number_input(
        "Photos at most, the first by name", 1, most, min(most, AT_FIRST), key=f"share-photos-{mined.id}"
    )
    pictures = st.radio("Pictures", list(PICTURES), format_func=PICTURES.__getitem__, key="share-pictures")
    alone = not st.toggle("With their neighbours' photos", True, key="share-neighbors")
    verdicts = st.toggle("With verdicts, without names of people", False, key="share-verdicts")
    photos = None if count == mined.image_count else int(count)
    return ShareRequest(photos, chosen, cast(Pictures, pictures or "thumbnails"), alone, verdicts)


def _command(mined: CorrespondenceSet, asked: ShareRequest) -> str:
    parts = [
        f"orl share {quote(mined.name)} --out FOLDER",
        "" if asked.photos is None else f"--photos {asked.photos}",
        "" if asked.selection is None else f"--selection {quote(asked.selection)}",
        "--pictures full" if asked.pictures == "full" else "",
        "--only-chosen" if asked.alone else "",
        "--verdicts" if asked.verdicts else "",
    ]
    return " ".join(part for part in parts if part)
