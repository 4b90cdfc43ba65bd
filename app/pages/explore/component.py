"""A grid of photo tiles; activating one reports its id as the trigger ``open``.

Where photos may be marked, they can be chosen together, and the trigger ``mark`` says what is asked of them:
``{"action", "ids", "tag"}``, the action being ``tag``, ``untag`` or ``keep`` (as a selection).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict

from orl_explorer.app.components import figure
from orl_explorer.app.components.bundle import registered

if TYPE_CHECKING:
    from streamlit.components.v2.bidi_component import ComponentResult


class PhotoTile(TypedDict):
    """One photo of the grid; ``note`` says why a ``missing`` one cannot be shown."""

    id: int
    thumb: str
    name: str
    badges: list[str]
    width: int
    height: int
    tags: NotRequired[tuple[str, ...]]
    missing: NotRequired[bool]
    note: NotRequired[str]


class GalleryPayload(TypedDict):
    """All that is drawn. ``tags``: words to offer; ``figure``: None where nothing is saved."""

    tiles: list[PhotoTile]
    selected: int | None
    tags: list[str]
    scope: int | None
    can_mark: bool
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
    """Draw the tiles; ``on_open`` reads the id from ``st.session_state[key].open``, ``on_mark`` likewise.

    tags: words to offer. scope: what is chosen is forgotten when it changes. Without ``on_mark`` nothing can be chosen,
    and without ``saved_as`` nothing saved.
    """
    data: GalleryPayload = {
        "tiles": tiles,
        "selected": selected,
        "tags": list(tags),
        "scope": scope,
        "can_mark": on_mark is not None,
        "figure": saved_as,
    }
    return _gallery(key=key, data=data, on_open_change=on_open, on_mark_change=on_mark or (lambda: None))
