"""A grid of photo tiles; activating one reports its id as the trigger ``open``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Tile(TypedDict):
    """One photo of the grid; ``note`` says why a ``missing`` one cannot be shown."""

    id: int
    thumb: str
    name: str
    badges: list[str]
    width: int
    height: int
    missing: NotRequired[bool]
    note: NotRequired[str]


_HERE = Path(__file__).parent

_gallery = st.components.v2.component(
    "orl_gallery",
    html='<div class="gallery"></div>',
    css=(_HERE / "gallery.css").read_text(encoding="utf-8"),
    js="\n".join((_HERE / script).read_text(encoding="utf-8") for script in ("dom.js", "gallery.js")),
)


def gallery(
    tiles: list[Tile], *, key: str, on_open: Callable[[], None], selected: int | None = None
) -> ComponentResult:
    """Draw the tiles; ``on_open`` reads the id from ``st.session_state[key].open``."""
    return _gallery(key=key, data={"tiles": tiles, "selected": selected}, on_open_change=on_open)
