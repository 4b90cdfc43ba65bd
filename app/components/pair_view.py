"""The pair view: a query photo, one of its neighbours, and the matched regions between them.

The component keeps what belongs to looking (zoom, layers, similarity threshold, hover) to itself and
reports only what the server must know, as triggers carrying ids:

* ``neighbor``: the rank that was asked for;
* ``step``: -1 or +1, previous or next query;
* ``pick``: ``{"q", "k", "side", "n"}``; both indices are ``None`` when the selection was cleared;
* ``verdict``: ``{"rank", "q", "k", "verdict", "n"}``; ``verdict`` is ``None`` when it was taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

import streamlit as st

from db.models import Judgement

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult

Box = list[float]  # x, y, width, height in pixels of the image as shown
Rule = Literal["size", "aspect", "overlap", "count"]


class RejectedBox(TypedDict):
    """A candidate that a filter removed, and the sentence that says by how much."""

    box: Box
    rule: Rule
    why: str


class Photo(TypedDict):
    """One side of the stage."""

    id: int
    name: str
    url: str
    width: int
    height: int
    boxes: list[Box]
    rejected: list[RejectedBox]


class NeighborPhoto(Photo):
    """The right side of the stage."""

    rank: int
    similarity: float


class NeighborThumb(TypedDict):
    """One entry of the filmstrip."""

    rank: int
    id: int
    name: str
    thumb: str
    similarity: float
    pairs: int | None  # unknown until boxes are embedded


class Pair(TypedDict):
    """Two matched boxes: ``q`` indexes the query's boxes, ``k`` the neighbour's."""

    rank: int
    q: int
    k: int
    similarity: float
    verdict: Judgement | None


class Selection(TypedDict):
    """The selected pair."""

    q: int
    k: int


class Attention(TypedDict):
    """Heat maps laid over the photos; ``colors`` are the legend's stops from low to high."""

    query: str | None
    neighbor: str | None
    label: str
    low: str
    high: str
    colors: NotRequired[list[str]]


class PairPayload(TypedDict):
    """Everything that the view draws."""

    query: Photo
    neighbor: NeighborPhoto | None
    neighbors: list[NeighborThumb]
    pairs: list[Pair]
    selected: Selection | None
    attention: Attention | None
    crop_url: str
    can_judge: bool
    prefetch: NotRequired[list[str]]


_HERE = Path(__file__).parent
_STYLES = ("pair_view.css", "pair_stage.css", "pair_panels.css")
_SCRIPTS = ("dom.js", "pair_side.js", "pair_pointer.js", "pair_stage.js", "pair_panels.js", "pair_view.js")


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


_pair_view = st.components.v2.component(
    "orl_pair_view",
    html='<div class="pair-view"></div>',
    css=_joined(_STYLES),
    js=_joined(_SCRIPTS),
)


def pair_view(
    payload: PairPayload,
    *,
    key: str,
    on_neighbor: Callable[[], None],
    on_step: Callable[[], None],
    on_pick: Callable[[], None],
    on_verdict: Callable[[], None],
) -> ComponentResult:
    """Draw the pair view; callbacks read their trigger from ``st.session_state[key]``."""
    return _pair_view(
        key=key,
        data=payload,
        on_neighbor_change=on_neighbor,
        on_step_change=on_step,
        on_pick_change=on_pick,
        on_verdict_change=on_verdict,
    )
