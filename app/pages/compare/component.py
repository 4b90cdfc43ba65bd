"""Two sets on one query photo and one neighbour: two stages in step, pairs that were kept, lost and new.

The component reports, as triggers:

* ``neighbor``: the id of the neighbour that was asked for;
* ``step``: -1 or +1, previous or next query;
* ``pick``: ``{"id", "n"}``; ``id`` is a pair's, ``None`` when the selection was cleared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from orl_explorer.app.components.bundle import registered
from orl_explorer.app.pages.pair.component import Box, ShownPhoto
from orl_explorer.db.sets.comparison import Status

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class ComparedPhoto(ShownPhoto):
    """The neighbour in one set; rank and similarity are None where it is none."""

    rank: int | None
    similarity: float | None


class ComparePlace(TypedDict):
    """A neighbour's rank and similarity in one set."""

    rank: int
    similarity: float


class ComparedThumb(TypedDict):
    """A neighbour in either set, and how many pairs with it were kept, lost and are new."""

    id: int
    name: str
    thumb: str
    status: Status
    first: ComparePlace | None
    second: ComparePlace | None
    counts: dict[Status, int]


class ComparedPair(TypedDict):
    """A pair of one pane: ``q`` and ``k`` index its boxes; the same ``id`` and ``number`` is the same pair."""

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
    """A row of the table: both boxes, and the similarity in either set."""

    id: str
    number: int
    status: Status
    boxes: tuple[Box, Box]
    similarity: tuple[float | None, float | None]


class ComparePayload(TypedDict):
    """Everything that the view draws."""

    neighbor: int
    neighbors: list[ComparedThumb]
    panes: tuple[Pane, Pane]
    rows: list[ComparedRow]
    selected: str | None
    place: dict[str, str]  # URL parameters that a link names whether they are usual or not
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
    """Draw both sets; callbacks read their trigger from ``st.session_state[key]``."""
    return _compare(
        key=key, data=payload, on_neighbor_change=on_neighbor, on_step_change=on_step, on_pick_change=on_pick
    )
