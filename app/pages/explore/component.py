"""A grid of photo tiles. Activating a tile sends its id as the trigger ``open``.

With ``on_mark``, photos can be selected. The trigger ``mark`` requests an action on them: ``{"action", "ids", "tag"}``,
with the action ``tag``, ``untag``, ``keep`` (as a selection), ``keep_out`` or ``let_in`` (of mining).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered
from orl_explorer.db.people.kept_out import KEPT_OUT

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class Badge(TypedDict):
    """A short text on a tile, and what it means."""

    text: str
    meaning: str


class PhotoTile(TypedDict):
    """One photo of the grid. ``note``: why a ``missing`` photo cannot be shown."""

    id: int
    thumb: str
    name: str
    badges: list[Badge]
    width: int
    height: int
    tags: NotRequired[tuple[str, ...]]
    missing: NotRequired[bool]
    note: NotRequired[str]


class GalleryPayload(TypedDict):
    """Data of the grid.

    ``tags``: suggestions. ``kept_out``: the tag of photos that are kept out of mining. ``figure``: None if the grid
    cannot be saved as a figure.
    """

    tiles: list[PhotoTile]
    selected: int | None
    tags: list[str]
    scope: int | None
    can_mark: bool
    kept_out: str
    figure: figure.Figure | None


_gallery = registered(
    "orl_gallery",
    "pages/explore/gallery",
    '<div class="bar" hidden></div><div class="head" hidden></div><div class="gallery"></div>',
)


def gallery(
    tiles: list[PhotoTile],
    *,
    key: str,
    on_open: Callable[[], None],
    on_mark: Callable[[], None] | None = None,
    selected: int | None = None,
    tags: Sequence[str] = (),
    scope: int | None = None,
    saved_as: figure.Figure | None = None,
) -> ComponentResult:
    """Draw the tiles. Callbacks read their trigger from ``st.session_state[key]``.

    tags: suggestions. scope: a change clears the selection. Without ``on_mark``, photos cannot be selected; without
    ``saved_as``, the grid cannot be saved as a figure.
    """
    data: GalleryPayload = {
        "tiles": tiles,
        "selected": selected,
        "tags": list(tags),
        "scope": scope,
        "can_mark": on_mark is not None,
        "kept_out": KEPT_OUT,
        "figure": saved_as,
    }
    return _gallery(key=key, data=data, on_open_change=on_open, on_mark_change=on_mark or (lambda: None))
