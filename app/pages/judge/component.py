"""One pair at a time to judge by keys: both photos with their box, and both crops.

Triggers: ``mark``: the verdicts that are not acknowledged yet, ``{"n", "at", "verdicts": {id: verdict | None}}``, as on
the page Matches. ``look``: ``{"at"}``, the place whose pairs are wanted. A place is one in the sample, from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict

from orl_explorer.app.components.bundle import registered
from orl_explorer.app.pages.picture import Picture
from orl_explorer.db.marks import Judgement

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class JudgedSide(Picture):
    """A photo with a RoI x y w h, the URL of its crop, and what became of the photo's file since, if anything."""

    box: list[int]
    crop: str
    lost: Literal["", "gone", "unreadable", "changed"]


class PairToJudge(TypedDict):
    """A pair: its place in the sample, and its name: the set and the key."""

    at: int
    id: str
    query: JudgedSide
    key: JudgedSide


class JudgePayload(TypedDict):
    """Data of the view.

    sample: names the sample; another one begins at its own ``start``. verdicts: a letter for each pair of the sample,
    this person's verdict: g, x, i, or a dot. pairs: those around the place on screen. again: whether judged pairs are
    shown too. answered: the last acknowledged ``n``.
    """

    sample: str
    verdicts: str
    start: int
    pairs: list[PairToJudge]
    again: bool
    can_judge: bool
    answered: int


LETTERS: dict[Judgement | None, str] = {"good": "g", "wrong": "x", "interesting": "i", None: "."}

_judge_view = registered("orl_judge_view", "pages/judge/view", '<div class="judge"></div>')


def judge_view(
    payload: JudgePayload, *, key: str, on_mark: Callable[[], None], on_look: Callable[[], None]
) -> ComponentResult:
    """Draw the view. Callbacks read their trigger from ``st.session_state[key]``."""
    return _judge_view(key=key, data=payload, on_mark_change=on_mark, on_look_change=on_look)
