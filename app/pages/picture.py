"""The data of a photo for components."""

from __future__ import annotations

from typing import TypedDict

from orl_explorer.app.explorer.pair import SeenPhoto
from orl_explorer.app.server.urls import PictureUrls
from orl_explorer.db.models import Image


class Picture(TypedDict):
    """One photo. Width and height are the original photo's, in pixels, after rotation by its EXIF data."""

    id: int
    name: str
    url: str
    width: int
    height: int


def picture(photo: SeenPhoto | Image, urls: PictureUrls) -> Picture:
    """Return the data of a photo. Its sides are at least 1: components divide by them."""
    return {
        "id": photo.id,
        "name": photo.path,
        "url": urls.photo(photo.id, photo.mtime_ns),
        "width": photo.width or 1,
        "height": photo.height or 1,
    }
