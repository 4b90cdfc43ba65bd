"""The attention view: the same photos under the maps of several encoders, side by side.

What belongs to looking stays in the browser: a click asks for the new maps at once, opacity and layers need no
request at all. The page is told, as triggers, what its URL must know:

* ``look``: a ``Look``, whenever the person has changed it;
* ``step``: -1 or +1, previous or next query;
* ``open``: the id of a neighbour that should become the query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict

from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult

LayerName = Literal["overlay", "photo", "map"]


class AttentionLook(TypedDict):
    """How the photos are looked at.

    ``to`` is what the cosine maps compare with: image-x-y for a point, image-x-y-w-h for a RoI, both in pixels of the
    image as shown; empty for the activation norm. ``own``: cosine on a scale of each map's own, not from 0 to 1.
    """

    to: str
    opacity: float
    layer: LayerName
    cells: bool
    own: bool


class EncoderColumn(TypedDict):
    """One encoder; ``note`` says its architecture and stage, and whether it was trained with labels."""

    id: int
    name: str
    note: str
    supervised: bool


class PhotoPanel(TypedDict):
    """One photo; ``similarity`` is None for the query."""

    id: int
    name: str
    url: str
    width: int
    height: int
    similarity: float | None


class AttentionPayload(TypedDict):
    """Everything that the view draws. ``rois``: x y w h of the query's candidates in rank order."""

    encoders: list[EncoderColumn]
    query: PhotoPanel
    neighbors: list[PhotoPanel]
    neighbors_by: str  # the set that they come from
    rois: list[list[int]]
    look: AttentionLook
    place: dict[str, str | list[str]]  # what a lasting link says besides
    attention_url: str
    crop_url: str
    colors: list[str]  # of the scale, from low to high


_attention_view = registered("orl_attention_view", "pages/attention/view", '<div class="attention-view"></div>')


def attention_view(
    payload: AttentionPayload,
    *,
    key: str,
    on_look: Callable[[], None],
    on_step: Callable[[], None],
    on_open: Callable[[], None],
) -> ComponentResult:
    """Draw the view; callbacks read their trigger from ``st.session_state[key]``."""
    return _attention_view(
        key=key, data=payload, on_look_change=on_look, on_step_change=on_step, on_open_change=on_open
    )
