"""Lineage as a graph in layers; activating a node reports ``{"name", "n"}`` as the trigger ``open``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import streamlit as st

from orl_explorer.app.components import figure
from orl_explorer.app.components.sources import joined

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Node(TypedDict):
    """A box: where it is (layers and rows, as numbers), what it says; ``solid``: a whole outline."""

    name: str
    kind: str
    title: str
    facts: str
    solid: bool
    layer: NotRequired[int]
    row: NotRequired[float]
    lit: NotRequired[bool]
    focus: NotRequired[bool]


_lineage = st.components.v2.component(
    "orl_lineage",
    html='<div class="head"></div><div class="lineage"></div>',
    css=joined("pages/train/graph.css", "components/save.css"),
    js=joined("components/dom.js", *figure.SHOWN_SCRIPTS, "pages/train/graph.js"),
)


def lineage_view(
    nodes: Sequence[Mapping[str, Any]],
    edges: Sequence[tuple[str, str]],
    *,
    key: str,
    on_open: Callable[[], None],
    saved_as: figure.Figure,
) -> ComponentResult:
    """Draw it; ``on_open`` reads the name from ``st.session_state[key].open``."""
    data = {"nodes": list(nodes), "edges": list(edges), "figure": saved_as}
    return _lineage(key=key, data=data, on_open_change=on_open)
