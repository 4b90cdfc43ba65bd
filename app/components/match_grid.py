"""A grid of matches: the crops of a query RoI and of its key side by side, with what is known of the pair.

Triggers: ``open``: the ``id`` of a match; ``judge``: ``{id: "good" | "wrong" | "interesting" | None}``, every verdict
that the server has not answered yet, so that one lost on the way comes with the next.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import streamlit as st

from db.models import Judgement

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Side(TypedDict):
    """A RoI: its photo's name, and the URL of its crop."""

    name: str
    crop: str


class Card(TypedDict):
    """One match. ``id`` is a name that the page understands; ``margin`` and ``cycle`` are null where not measured."""

    id: str
    query: Side
    key: Side
    neighbor_rank: int
    similarity: float
    margin: float | None
    cycle: bool | None
    verdict: Judgement | None
    tags: tuple[str, ...]


_HERE = Path(__file__).parent

_match_grid = st.components.v2.component(
    "orl_match_grid",
    html='<div class="matches"></div>',
    css=(_HERE / "match_grid.css").read_text(encoding="utf-8"),
    js="\n".join((_HERE / script).read_text(encoding="utf-8") for script in ("dom.js", "match_grid.js")),
)


def match_grid(
    cards: list[Card],
    *,
    key: str,
    on_open: Callable[[], None],
    on_judge: Callable[[], None] | None,
) -> ComponentResult:
    """Draw the cards. Without ``on_judge`` verdicts are shown and cannot be given."""
    data = {"cards": cards, "can_judge": on_judge is not None}
    return _match_grid(key=key, data=data, on_open_change=on_open, on_judge_change=on_judge or (lambda: None))
