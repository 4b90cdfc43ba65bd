"""A photo as components draw it."""

from __future__ import annotations

from typing import TypedDict

from orl_explorer.app.explorer.pair import SeenPhoto
from orl_explorer.app.server.urls import PictureUrls
from orl_explorer.db.models import Image


class Picture(TypedDict):
    """Width and height in pixels as shown, of the photo itself."""

    id: int
    name: str
    url: str
    width: int
    height: int


def picture(photo: SeenPhoto | Image, urls: PictureUrls) -> Picture:
    """That of a photo; a side is never 0, since components divide by it."""
    return {
        "id": photo.id,
        "name": photo.path,
        "url": urls.photo(photo.id, photo.mtime_ns),
        "width": photo.width or 1,
        "height": photo.height or 1,
    }
