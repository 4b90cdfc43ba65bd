"""What a person gives to search with: a picture that is dropped, pasted or chosen, or a path."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from orl_explorer.app.explorer.preview import PreviewSubject
from orl_explorer.app.explorer.searching import image_of_path
from orl_explorer.app.pages import shell
from orl_explorer.app.pages.search.example import ExamplePayload, example_view
from orl_explorer.app.pages.shell import Place
from orl_explorer.app.server import given
from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.train.errors import UserError

KEY = "search-example"
PATH = "search-path"
NOTHING: ExamplePayload = {
    "photo": None,
    "box": None,
    "whole": True,
    "rois": [],
    "can_draw": False,
    "send_to": "",
    "most": given.MOST_BYTES,
}


def searched_set(place: Place) -> PreviewSubject | None:
    """Return what is searched: the set on screen, if there is one."""
    if place.dataset is None or place.mined is None:
        return None
    encoder = encoder_by_id(place.workspace.store, place.mined.encoder_id)
    return PreviewSubject(place.workspace, place.mined, place.dataset, encoder)


def ask_for_example(place: Place) -> None:
    """Draw an empty view that takes a picture, and an input for a path. Either opens the page Search."""
    example_view({**NOTHING, "send_to": given.given_url()}, key=KEY, on_given=_open_given)
    ask_for_path(place, _open)


def ask_for_path(place: Place, found: Callable[..., None]) -> None:
    """Draw the input for the path of a picture. found: called with ``q`` or ``photo`` of the page's URL."""
    st.text_input(
        "Path of a picture",
        key=PATH,
        placeholder="JPEGImages/000012.jpg",
        help="A photo of the dataset by its name, or any picture on the server. The server fetches no addresses of the "
        "web: save such a picture, then drop it here.",
        on_change=_read_path,
        args=(place, found),
    )


def given_name() -> str:
    """Return the server's name of the picture that the view has sent."""
    said = st.session_state[KEY].given
    return str(said.get("name")) if isinstance(said, dict) else ""


def _open(**query: str) -> None:
    shell.open_page("search", **query)


def _open_given() -> None:
    if name := given_name():
        _open(photo=name)


def _read_path(place: Place, found: Callable[..., None]) -> None:
    text, subject = st.session_state[PATH], searched_set(place)
    if not text.strip() or subject is None:
        return
    if (image := image_of_path(subject, text)) is not None:
        found(q=str(image.id))
    elif (name := _kept(text)) is not None:
        found(photo=name)


def _kept(text: str) -> str | None:
    """Return the server's name of the picture at a path. If it cannot be used, say why."""
    try:
        return given.keep_file(text).name
    except UserError as mistake:
        st.toast(shell.escape(str(mistake)), icon=":material/error:", duration="long")
        return None
