"""A photo to search with: a person gives a picture, and draws a box on it or picks one of its RoIs.

A picture that is dropped, pasted or chosen is sent to the server by the script. Triggers:

* ``given``: ``{"name", "n"}``: the server's name of a picture that was sent;
* ``draw``: ``{"box", "n"}``: a box x y w h of the photo, or None for the whole photo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult

ExampleBox = list[int]  # x, y, width, height in pixels of the photo as shown


class ExamplePhoto(TypedDict):
    """The photo."""

    name: str
    url: str
    width: int
    height: int


class ExamplePayload(TypedDict):
    """Data of the view.

    photo: None before one was given. box: what is searched with. whole: whether that is the whole photo. rois: of the
    photo in the set. can_draw: whether other boxes can be embedded. send_to: URL that takes a picture; most: its
    largest size in bytes.
    """

    photo: ExamplePhoto | None
    box: ExampleBox | None
    whole: bool
    rois: list[ExampleBox]
    can_draw: bool
    send_to: str
    most: int


_example = registered("orl_search_example", "pages/search/example", '<div class="example"></div>')


def example_view(
    payload: ExamplePayload, *, key: str, on_given: Callable[[], None], on_draw: Callable[[], None] = lambda: None
) -> ComponentResult:
    """Draw the photo. Callbacks read their trigger from ``st.session_state[key]``."""
    return _example(key=key, data=payload, on_given_change=on_given, on_draw_change=on_draw)
