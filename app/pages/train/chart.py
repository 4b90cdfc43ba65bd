"""Curves of one run or several, which keep the viewer's zoom, smoothing and axes while new numbers arrive.

Everything that belongs to looking stays in the browser; the component reports nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Source(TypedDict):
    """A run of the legend; ``per_epoch`` is its number of steps in an epoch."""

    id: int
    name: str
    color: str
    dash: str
    per_epoch: float


class Line(TypedDict):
    """A curve: ``x`` are steps; ``low`` and ``high`` bound the values that a point stands for."""

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
    """A level to compare with."""

    y: float
    text: str


class ChartPanel(TypedDict):
    """One chart. ``unit``: "" or "%", for shares of 1. ``log``: may have a logarithmic axis."""

    name: str
    title: str
    unit: str
    log: bool
    lines: list[Line]
    mark: Mark | None


class CurvesPayload(TypedDict):
    """All that is drawn."""

    runs: list[Source]
    panels: list[ChartPanel]
    figure: figure.Figure


_curves = registered("orl_curves", "pages/train/chart", '<div class="curves"></div>')


def curves(payload: CurvesPayload, *, key: str) -> ComponentResult:
    """Draw the panels."""
    return _curves(key=key, data=payload)
