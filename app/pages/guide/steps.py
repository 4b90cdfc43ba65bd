"""The three stages as steps: which are done, and what to do next. Activating a step sends the trigger ``open``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class GuideLink(TypedDict):
    """A button of a step, and the page that it opens."""

    text: str
    page: str


class GuideStep(TypedDict):
    """A step, what it does, and what can be done."""

    title: str
    said: str
    state: Literal["done", "next", "later"]
    links: list[GuideLink]


class GuidePayload(TypedDict):
    """Data of the component."""

    steps: list[GuideStep]


_guide = registered("orl_guide", "pages/guide/guide", '<section class="guide" hidden></section>')


def guide(steps: Sequence[GuideStep], *, key: str, on_open: Callable[[], None]) -> ComponentResult:
    """Draw the steps, until a person has dismissed them in this browser.

    ``on_open`` reads the page's name from ``st.session_state[key].open``.
    """
    data: GuidePayload = {"steps": list(steps)}
    return _guide(key=key, data=data, on_open_change=on_open)
