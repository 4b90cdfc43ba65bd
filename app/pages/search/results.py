"""A grid of RoIs that a search found: the crop of each, and its place in its photo.

Triggers: ``open``: the id of a RoI, to open it as a pair. ``search``: the id of a RoI, to search with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class FoundRoi(TypedDict):
    """A RoI. rank: from 1. photo, large: URLs of its photo. lost: what became of the photo's file since."""

    id: int
    rank: int
    name: str
    crop: str
    photo: str
    large: str
    width: int
    height: int
    box: list[int]
    similarity: float
    category: str | None
    lost: Literal["", "gone", "unreadable", "changed"]


class ResultsPayload(TypedDict):
    """Data of the grid."""

    found: list[FoundRoi]
    figure: figure.Figure


_results = registered(
    "orl_search_results", "pages/search/results", '<div class="head" hidden></div><div class="results"></div>'
)


def results_grid(
    found: list[FoundRoi],
    *,
    key: str,
    on_open: Callable[[], None],
    on_search: Callable[[], None],
    saved_as: figure.Figure,
) -> ComponentResult:
    """Draw the RoIs. Callbacks read their trigger from ``st.session_state[key]``."""
    data: ResultsPayload = {"found": found, "figure": saved_as}
    return _results(key=key, data=data, on_open_change=on_open, on_search_change=on_search)
