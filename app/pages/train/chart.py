"""Curves of one or several runs. Zoom, smoothing and axes stay as they are when new values arrive.

The browser handles all display options; the component sends no triggers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Source(TypedDict):
    """A run of the legend. ``per_epoch``: steps per epoch, None for a run without epochs."""

    id: int
    name: str
    color: str
    dash: str
    per_epoch: float | None


class Line(TypedDict):
    """A curve. ``x``: steps; ``low`` and ``high``: range of the values that a point averages."""

    run: int
    label: str
    color: str
    dash: str
    thin: bool
    x: list[int]
    y: list[float]
    low: NotRequired[list[float]]
    high: NotRequired[list[float]]


class Mark(TypedDict):
    """A horizontal reference line."""

    y: float
    text: str


class ChartPanel(TypedDict):
    """One chart. ``unit``: "" or "%", for shares of 1. ``log``: a logarithmic axis is possible."""

    name: str
    title: str
    unit: str
    log: bool
    lines: list[Line]
    mark: Mark | None


class CurvesPayload(TypedDict):
    """Data of the component."""

    runs: list[Source]
    panels: list[ChartPanel]
    figure: figure.Figure


_curves = registered("orl_curves", "pages/train/chart", '<div class="curves"></div>')


def curves(payload: CurvesPayload, *, key: str) -> ComponentResult:
    """Draw the panels."""
    return _curves(key=key, data=payload)
