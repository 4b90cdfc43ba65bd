"""A grid of matches: the crops of a query RoI and of its key side by side, with the measures of the pair.

Triggers: ``open``: the ``id`` of a match. ``search``: ``{"id", "n"}``, of a match whose query RoI to search with.
``mark``: all verdicts and tags that are not acknowledged yet,
``{"n", "verdicts": {id: "good" | "wrong" | "interesting" | None}, "tags": [{"id", "tag", "on"}]}``. The page
acknowledges them by returning ``n`` as ``answered``; until then the component sends them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered
from orl_explorer.db.marks import Judgement

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class CardSide(TypedDict):
    """A RoI: the name of its photo, the URL of its crop, and what became of the photo's file since, if anything."""

    name: str
    crop: str
    lost: Literal["", "gone", "unreadable", "changed"]


class Card(TypedDict):
    """One match. ``id``: its set and its key; ``margin`` and ``cycle``: null if not measured."""

    id: str
    query: CardSide
    key: CardSide
    neighbor_rank: int
    similarity: float
    margin: float | None
    cycle: bool | None
    verdict: Judgement | None
    tags: tuple[str, ...]


class MatchesPayload(TypedDict):
    """Data of the grid. ``tags``: suggestions; ``answered``: the last acknowledged ``n``."""

    cards: list[Card]
    tags: list[str]
    can_judge: bool
    answered: int
    figure: figure.Figure


_match_grid = registered(
    "orl_match_grid",
    "pages/matches/grid",
    '<div class="head" hidden></div><div class="matches"></div><datalist id="orl-pair-tags"></datalist>',
)


def match_grid(
    cards: list[Card],
    *,
    key: str,
    on_open: Callable[[], None],
    on_search: Callable[[], None],
    on_mark: Callable[[], None],
    can_judge: bool,
    answered: int = 0,
    tags: Sequence[str] = (),
    saved_as: figure.Figure,
) -> ComponentResult:
    """Draw the cards. tags: suggestions. Without ``can_judge``, verdicts and tags are read-only."""
    data: MatchesPayload = {
        "cards": cards,
        "tags": list(tags),
        "can_judge": can_judge,
        "answered": answered,
        "figure": saved_as,
    }
    return _match_grid(key=key, data=data, on_open_change=on_open, on_search_change=on_search, on_mark_change=on_mark)
