"""A player of probes: the pairs that an encoder in training finds between the same photos at each checkpoint.

The browser handles playback and the slider. When they come to rest, the component sends the trigger ``look``:
``{"couple", "step", "n"}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered
from orl_explorer.app.pages.picture import Picture

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult

ProbeBox = list[int]  # x, y, width, height in pixels of the image as shown


class ProbePhoto(Picture):
    """One photo of a couple."""

    thumb: str


class ProbeMatch(TypedDict):
    """A pair of boxes."""

    q: ProbeBox
    k: ProbeBox
    similarity: float


class Couple(TypedDict):
    """A query photo and one of its neighbours, with the set's own pairs and those of each checkpoint."""

    query: ProbePhoto
    neighbor: ProbePhoto
    own: list[ProbeMatch]
    found: list[list[ProbeMatch]]


class Checkpoint(TypedDict):
    """The time of a checkpoint."""

    step: int
    epoch: float


class ProbesPayload(TypedDict):
    """Data of the view. ``couple`` and ``step``: shown at first; ``own``: name of the set with the own pairs."""

    couples: list[Couple]
    checkpoints: list[Checkpoint]
    own: str
    couple: int
    step: int | None
    figure: figure.Figure


_probes = registered("orl_probes", "pages/train/probe_view", '<div class="probes"></div>')


def probes_view(payload: ProbesPayload, *, key: str, on_look: Callable[[], None]) -> ComponentResult:
    """Draw the view. ``on_look`` reads ``st.session_state[key].look``."""
    return _probes(key=key, data=payload, on_look_change=on_look)
