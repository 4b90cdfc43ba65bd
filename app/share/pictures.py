"""Pictures of photos to give away: upright, and without the metadata of their files."""

from __future__ import annotations

import io

from PIL import Image as Pillow

from orl_explorer.db.models import Image
from orl_explorer.orl.pixels import UnreadableImage
from orl_explorer.train.photos import Photos


def jpeg_of(photos: Photos, image: Image, longest: int | None) -> bytes | None:
    """Return a JPEG of a photo as shown; None if it cannot be read, or its file has changed since the set was mined.

    longest: pixels of its longer side at most; None for its own size. Only pixels are kept of the file.
    """
    try:
        found = photos.read(image)
    except (UnreadableImage, OSError):
        return None
    if longest is not None and max(found.size) > longest:
        found.thumbnail((longest, longest), Pillow.Resampling.LANCZOS)
    bare = Pillow.frombytes("RGB", found.size, found.convert("RGB").tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=85 if longest else 92, optimize=True)
    return buffer.getvalue()
