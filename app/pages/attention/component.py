"""The attention view: the same photos under the maps of several encoders, side by side.

The browser handles the display options itself: a click requests the new maps at once, opacity and layers need no
request. The component sends triggers for what the URL holds:

* ``look``: an ``AttentionLook``, after each change;
* ``step``: -1 or +1, for the previous or next query;
* ``open``: the id of a neighbour to use as the query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict

from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult

LayerName = Literal["overlay", "photo", "map"]


class AttentionLook(TypedDict):
    """Display options.

    ``to``: target of the cosine maps, image-x-y for a point, image-x-y-w-h for a RoI, both in pixels of the image as
    shown; ``class`` for the attention of the class token; empty for the activation norm. ``own``: scale each cosine
    map from its own minimum to its own maximum.
    """

    to: str
    opacity: float
    layer: LayerName
    cells: bool
    own: bool


class EncoderColumn(TypedDict):
    """One encoder. ``note``: its architecture, its stage, and whether it was trained with labels.

    ``class_token``: whether it has one.
    """

    id: int
    name: str
    note: str
    supervised: bool
    class_token: bool


class PhotoPanel(TypedDict):
    """One photo; ``similarity`` is None for the query."""

    id: int
    name: str
    url: str
    width: int
    height: int
    similarity: float | None


class AttentionPayload(TypedDict):
    """Data of the view. ``rois``: x y w h of the query's RoIs in rank order."""

    encoders: list[EncoderColumn]
    query: PhotoPanel
    neighbors: list[PhotoPanel]
    neighbors_by: str  # name of the set of the neighbours
    rois: list[list[int]]
    look: AttentionLook
    place: dict[str, str | list[str]]  # further URL parameters of a permanent link
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
    """Draw the view. Callbacks read their trigger from ``st.session_state[key]``."""
    return _attention_view(
        key=key, data=payload, on_look_change=on_look, on_step_change=on_step, on_open_change=on_open
    )
