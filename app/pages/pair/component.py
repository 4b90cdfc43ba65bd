"""The pair view: a query photo, one of its neighbours, and the matched regions between them.

The component handles display options (zoom, layers, similarity threshold, hover) in the browser. It sends triggers for
what the server must know:

* ``neighbor``: the rank of the chosen neighbour;
* ``step``: -1 or +1, for the previous or next query;
* ``pick``: ``{"q", "k", "roi", "n"}``; both indices are ``None`` if no pair is selected; ``roi`` is the clicked box as
  an ``explorer.pair.RoiName``, or ``None``;
* ``match``: ``{"rank", "q", "k", "n"}``: a neighbour, and the pair to select there;
* ``search``: ``{"roi", "n"}``: the box to search the set with, or ``None`` for the query photo;
* ``verdict``: ``{"rank", "q", "k", "sides", "verdict", "n"}``; ``verdict`` is ``None`` if it was removed. ``sides``:
  photo and box of both, ``{"photo", "box"}``, by which the page knows whether it still shows this pair.

It writes layers and threshold to the URL itself (``layers``, ``cos``), and removes empty parameters from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NotRequired, TypedDict

from orl_explorer.app.components.bundle import registered
from orl_explorer.app.explorer.pair import SideName
from orl_explorer.app.explorer.rejections import Rule
from orl_explorer.app.pages.picture import Picture
from orl_explorer.db.marks import Judgement

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult

Box = list[float]  # x, y, width, height in pixels of the image as shown


class RejectedBox(TypedDict):
    """A raw box that the filter rejected, and why. ``blocker``: the kept box that it overlaps."""

    raw: int
    box: Box
    rule: Rule
    why: str
    blocker: int | None


class ShownPhoto(Picture):
    """One side of the stage."""

    boxes: list[Box]
    rejected: list[RejectedBox]


class NeighborPhoto(ShownPhoto):
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


class ShownPair(TypedDict):
    """Two matched boxes: ``q`` indexes the query's boxes, ``k`` the neighbour's."""

    rank: int
    q: int
    k: int
    similarity: float
    verdict: Judgement | None


class SelectedPair(TypedDict):
    """The selected pair."""

    q: int
    k: int


class OutsidePair(TypedDict):
    """A selected pair that is not kept, with a sentence about its rank."""

    q: int
    k: int
    similarity: float
    verdict: Judgement | None
    note: str


class Matrix(TypedDict):
    """Cosines of all query RoIs (rows) and all RoIs of the neighbour: int16 in 1/10000, row by row, base64."""

    rows: int
    columns: int
    values: str


class BestMatchItem(TypedDict):
    """The best match of a RoI in the query (``rank`` None) or in a neighbour; unknown before that is embedded."""

    rank: int | None
    id: int
    index: int | None
    box: Box | None
    similarity: float | None


class BestMatchList(TypedDict):
    """The best matches of one RoI."""

    side: SideName
    index: int
    items: list[BestMatchItem]


class Explained(TypedDict):
    """The reason why a raw box was rejected."""

    side: SideName
    raw: int
    text: str


class PairHeat(TypedDict):
    """Heat maps over the photos. ``colors``: stops of the legend from low to high."""

    query: str | None
    neighbor: str | None
    label: str
    low: str
    high: str
    colors: list[str]


class PairFact(TypedDict):
    """A number about the selected pair, in words, and what it means."""

    name: str
    value: str
    meaning: str


class Answering(TypedDict):
    """A photo, its map of cosines to the pair's RoI in the other photo, and the pair's RoI in this one."""

    title: str
    photo: str
    heat: str
    width: int
    height: int
    box: Box


class PairReasons(TypedDict):
    """What decides on the selected pair. cells: empty if the set's encoder has no maps."""

    q: int
    k: int
    facts: list[PairFact]
    cells: list[Answering]


class PairPayload(TypedDict):
    """Data of the view."""

    query: ShownPhoto
    neighbor: NeighborPhoto | None
    neighbors: list[NeighborThumb]
    pairs: list[ShownPair]
    selected: SelectedPair | None
    outside: OutsidePair | None
    roi: str | None
    matches: BestMatchList | None
    explained: Explained | None
    reasons: PairReasons | None
    matrix: Matrix | None
    attention: PairHeat | None
    place: dict[str, str]  # URL parameters of a permanent link
    caption: list[str]  # of a saved figure
    crop_url: str
    can_judge: bool
    prefetch: NotRequired[list[str]]


_pair_view = registered("orl_pair_view", "pages/pair/view", '<div class="pair-view"></div>')


def pair_view(
    payload: PairPayload,
    *,
    key: str,
    on_neighbor: Callable[[], None],
    on_step: Callable[[], None],
    on_pick: Callable[[], None],
    on_match: Callable[[], None],
    on_search: Callable[[], None],
    on_verdict: Callable[[], None],
) -> ComponentResult:
    """Draw the view. Callbacks read their trigger from ``st.session_state[key]``."""
    return _pair_view(
        key=key,
        data=payload,
        on_neighbor_change=on_neighbor,
        on_step_change=on_step,
        on_pick_change=on_pick,
        on_match_change=on_match,
        on_search_change=on_search,
        on_verdict_change=on_verdict,
    )
