"""Two sets on one query photo and one neighbour: two synchronised stages with kept, lost and new pairs.

Triggers:

* ``neighbor``: the id of the chosen neighbour;
* ``step``: -1 or +1, for the previous or next query;
* ``pick``: ``{"id", "n"}``; ``id`` of the selected pair, or ``None``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from orl_explorer.app.components.bundle import registered
from orl_explorer.app.pages.pair.component import Box, ShownPhoto
from orl_explorer.train.mining.compared import Status

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class ComparedPhoto(ShownPhoto):
    """The neighbour in one set. Rank and similarity are None if it is no neighbour there."""

    rank: int | None
    similarity: float | None


class ComparePlace(TypedDict):
    """A neighbour's rank and similarity in one set."""

    rank: int
    similarity: float


class ComparedThumb(TypedDict):
    """A neighbour in either set, and the numbers of kept, lost and new pairs with it."""

    id: int
    name: str
    thumb: str
    status: Status
    first: ComparePlace | None
    second: ComparePlace | None
    counts: dict[Status, int]


class ComparedPair(TypedDict):
    """A pair of one pane: ``q`` and ``k`` index its boxes. The same pair has one ``id`` in both panes."""

    id: str
    number: int
    status: Status
    q: int
    k: int
    similarity: float


class Pane(TypedDict):
    """One set's stage."""

    title: str
    note: str
    query: ShownPhoto
    neighbor: ComparedPhoto
    pairs: list[ComparedPair]


class ComparedRow(TypedDict):
    """A row of the table: both boxes, in the first set if it has the pair, and the similarity in either set."""

    id: str
    number: int
    status: Status
    boxes: tuple[Box, Box]
    similarity: tuple[float | None, float | None]


class ComparePayload(TypedDict):
    """Data of the view."""

    neighbor: int
    neighbors: list[ComparedThumb]
    panes: tuple[Pane, Pane]
    rows: list[ComparedRow]
    selected: str | None
    place: dict[str, str]  # URL parameters of a permanent link
    caption: list[str]  # sentences below a saved figure
    crop_url: str
    prefetch: list[str]


_compare = registered("orl_pair_compare", "pages/compare/view", '<div class="pair-view compare-view"></div>')


def pair_compare(
    payload: ComparePayload,
    *,
    key: str,
    on_neighbor: Callable[[], None],
    on_step: Callable[[], None],
    on_pick: Callable[[], None],
) -> ComponentResult:
    """Draw both sets. Callbacks read their trigger from ``st.session_state[key]``."""
    return _compare(
        key=key, data=payload, on_neighbor_change=on_neighbor, on_step_change=on_step, on_pick_change=on_pick
    )
