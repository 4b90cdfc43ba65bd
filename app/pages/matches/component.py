"""A grid of matches: the crops of a query RoI and of its key side by side, with what is known of the pair.

Triggers: ``open``: the ``id`` of a match. ``mark``: everything that was said and is not answered yet,
``{"n", "verdicts": {id: "good" | "wrong" | "interesting" | None}, "tags": [{"id", "tag", "on"}]}``; giving ``n`` back
as ``answered`` ends its being said again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered
from orl_explorer.db.models import Judgement

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class CardSide(TypedDict):
    """A RoI: its photo's name, and the URL of its crop."""

    name: str
    crop: str


class Card(TypedDict):
    """One match. ``id`` is a name that the page understands; ``margin`` and ``cycle`` are null where not measured."""

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
    """All that is drawn. ``tags``: words to offer; ``answered``: the ``n`` that was heard last."""

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
    on_mark: Callable[[], None],
    can_judge: bool,
    answered: int = 0,
    tags: Sequence[str] = (),
    saved_as: figure.Figure,
) -> ComponentResult:
    """Draw the cards. tags: words to offer. Unless one ``can_judge``, verdicts and tags are only shown."""
    data: MatchesPayload = {
        "cards": cards,
        "tags": list(tags),
        "can_judge": can_judge,
        "answered": answered,
        "figure": saved_as,
    }
    return _match_grid(key=key, data=data, on_open_change=on_open, on_mark_change=on_mark)
