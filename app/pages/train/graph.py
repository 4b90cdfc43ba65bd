"""The lineage as a graph in layers. Activating a node sends the trigger ``open``: ``{"name", "n"}``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Node(TypedDict):
    """The contents of a box. ``solid``: not a broken outline."""

    name: str
    kind: str
    title: str
    facts: str
    solid: bool


class PlacedNode(Node):
    """A box with its layer and row. ``lit``: a relative of the box in ``focus``."""

    layer: int
    row: float
    lit: bool
    focus: bool


class LineagePayload(TypedDict):
    """Data of the component. Edges join nodes by name."""

    nodes: list[PlacedNode]
    edges: list[tuple[str, str]]
    figure: figure.Figure


_lineage = registered("orl_lineage", "pages/train/graph", '<div class="head"></div><div class="lineage"></div>')


def lineage_view(
    nodes: Sequence[PlacedNode],
    edges: Sequence[tuple[str, str]],
    *,
    key: str,
    on_open: Callable[[], None],
    saved_as: figure.Figure,
) -> ComponentResult:
    """Draw the graph. ``on_open`` reads the name from ``st.session_state[key].open``."""
    data: LineagePayload = {"nodes": list(nodes), "edges": list(edges), "figure": saved_as}
    return _lineage(key=key, data=data, on_open_change=on_open)
