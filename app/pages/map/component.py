"""The map: up to some hundred thousand points in the plane, drawn by the graphics card, with a lasso.

The browser fetches positions and colours once as binary columns (``app.server.points``). It colours, zooms, isolates
and selects without the server. Triggers:

* ``open``: the id of the photo whose point was clicked;
* ``keep``: the indices of the selected points, to open them in the gallery;
* ``look``: a ``MapLook``, some time after the last change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Colouring(TypedDict):
    """A column to colour by, with its label and an explanation."""

    name: str
    label: str
    note: str


class MapLook(TypedDict):
    """Display options: column, number of clusters, isolated labels, and centre and zoom as ``x,y,zoom``."""

    by: str
    k: int
    only: list[str]
    at: str


class MapPayload(TypedDict):
    """Data of the view."""

    what: Literal["photos", "rois"]
    count: int
    state: str  # version of the map; another one is fetched again
    column_url: str
    photo_url: str
    crop_url: str
    about_url: str
    colourings: list[Colouring]
    most_clusters: int
    look: MapLook
    figure: figure.Figure


_map_view = registered("orl_map_view", "pages/map/view", '<div class="map-view"></div>')


def map_view(
    payload: MapPayload,
    *,
    key: str,
    on_open: Callable[[], None],
    on_keep: Callable[[], None],
    on_look: Callable[[], None],
) -> ComponentResult:
    """Draw the map. Callbacks read their trigger from ``st.session_state[key]``."""
    return _map_view(key=key, data=payload, on_open_change=on_open, on_keep_change=on_keep, on_look_change=on_look)
