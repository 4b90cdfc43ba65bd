"""A photo with boxes drawn over it, as HTML."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from orl_explorer.app.server.urls import WIDTHS, picture_urls
from orl_explorer.db.models import Image


def boxed_photo(image: Image, boxes: Iterable[np.ndarray], alt: str, height: float) -> str:
    """Return a photo with outlines of boxes x y w h, in pixels of the photo. alt: escaped. height: at most, in rem."""
    width, tall = image.width or 1, image.height or 1
    shape = f"aspect-ratio:{width}/{tall};max-width:{height * width / tall:.1f}rem"
    source = picture_urls().photo(image.id, image.mtime_ns, WIDTHS[1])
    outlines = "".join(_outline(box, width, tall) for box in boxes)
    return f'<div class="boxed-photo" style="{shape}"><img src="{source}" alt="{alt}">{outlines}</div>'


def _outline(box: np.ndarray, width: int, height: int) -> str:
    x, y, w, h = (int(v) for v in box)
    place = f"left:{100 * x / width:.2f}%;top:{100 * y / height:.2f}%"
    return f'<i style="{place};width:{100 * w / width:.2f}%;height:{100 * h / height:.2f}%"></i>'
