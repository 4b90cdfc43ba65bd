"""Decoding photos as shown, and cutting the crops that an encoder sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from orl_explorer.orl.opening import UnreadableImage, decoding, open_photo

INPUT_SIZE = 224  # pixels, of the crops and image views that an encoder embeds
SHORT_SIDE = 256  # pixels, of a whole photo before it is cropped or resized to that size
ATTENTION_SIZE = 640  # pixels, of the whole photo squeezed into a square
ATTENTION_COARSE = 0.4  # scale of the second pass of attention, a share of those sides
ATTENTION_CELLS = 20  # cells per side of the attention map
ATTENTION_LOOKS = 8  # numbers per cell that describe its look
ATTENTION_PLANES = 1 + ATTENTION_LOOKS
BILINEAR = Image.Resampling.BILINEAR
CHANGED = "the file has changed since it was ingested"


class Crop(NamedTuple):
    """A box x y w h of a photo, in pixels as shown, and the side of the square to resize it to."""

    box: tuple[int, int, int, int] | np.ndarray
    size: int


class Stamp(NamedTuple):
    """Identity of a photo's file: bytes, modification time in ns, and ``file_digest`` if it was computed."""

    size: int
    mtime_ns: int
    digest: int | None


def file_digest(path: Path) -> int:
    """Return a 64-bit digest of a file's content: a signed integer, never 0. Raises OSError."""
    with path.open("rb") as file:
        return _as_key(hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).digest())


def content_digest(data: bytes) -> int:
    """Return the ``file_digest`` of a file with this content."""
    return _as_key(hashlib.blake2b(data, digest_size=8).digest())


def _as_key(digest: bytes) -> int:
    return int.from_bytes(digest, "little", signed=True) or 1


def is_same_file(path: Path, stamp: Stamp) -> bool:
    """Return whether a file matches a stamp. Reads it only if its size or time differs. Raises OSError."""
    found = path.stat()
    if (found.st_size, found.st_mtime_ns) == (stamp.size, stamp.mtime_ns):
        return True
    return found.st_size == stamp.size and stamp.digest is not None and file_digest(path) == stamp.digest


def read_image(path: Path, stamp: Stamp | None = None) -> Image.Image:
    """Decode a photo to RGB in the orientation of its EXIF tag.

    stamp: of the expected file. Raises UnreadableImage, also if the file differs from it.
    """
    with decoding():
        if stamp is not None and not is_same_file(path, stamp):
            raise UnreadableImage(CHANGED)
    with open_photo(path) as photo:
        return photo.rgb()


class DecodedPhoto(NamedTuple):
    """A photo's pixels in RGB as shown. A JPEG's may be a half, a quarter or an eighth of its size.

    width, height: of the whole photo as shown, pixels. reducible: whether ``decode_photo`` can reduce it, as a JPEG.
    """

    image: Image.Image
    width: int
    height: int
    reducible: bool

    def crop(self, crop: Crop) -> np.ndarray:
        """Cut a crop and resize it to a square, bilinear: uint8 [size, size, 3]."""
        x, y, w, h = (int(v) for v in crop.box)
        wide, high = self.image.width / self.width, self.image.height / self.height
        corners = round(x * wide), round(y * high), round((x + w) * wide), round((y + h) * high)
        # resize(box=…) would let pixels beside the box bleed in.
        return np.asarray(self.image.crop(corners).resize((crop.size, crop.size), Image.Resampling.BILINEAR))


def decode_photo(path: Path, reduce: int = 1) -> DecodedPhoto:
    """Decode a photo; a JPEG at 1/reduce of its size, in a fraction of the time. Raises UnreadableImage."""
    with open_photo(path) as photo:
        return DecodedPhoto(photo.rgb(reduce), photo.width, photo.height, photo.is_jpeg)


def reduction(crops: Sequence[Crop], spare: int = 1) -> int:
    """Return the largest of 1, 2, 4 and 8 by which a photo may be reduced before its crops are cut.

    spare: minimum of decoded pixels per pixel of a crop, along a side. With 1, a crop may be sharper than one of the
    whole photo; with 2, it looks the same.
    """
    return max((r for r in (2, 4, 8) if all(min(c.box[2:]) >= r * spare * c.size for c in crops)), default=1)


def read_crops(path: Path, plan: Callable[[int, int], Sequence[Crop]]) -> list[np.ndarray]:
    """Return crops of a photo, each resized to a square, bilinear: uint8 [size, size, 3] each.

    plan: returns the crops for a width and height of the photo as shown. The photo is decoded at the ``reduction`` that
    they allow. Raises UnreadableImage.
    """
    with open_photo(path) as photo:
        crops = plan(photo.width, photo.height)
        decoded = DecodedPhoto(photo.rgb(reduction(crops)), photo.width, photo.height, photo.is_jpeg)
    return [decoded.crop(c) for c in crops]


class Probed(NamedTuple):
    """What a photo's file holds: width and height as shown, EXIF orientation (1..8), and what is not shown of it.

    several: whether more pictures. transparent: whether pixels that are transparent, shown as opaque.
    """

    width: int
    height: int
    orientation: int
    several: bool
    transparent: bool


def probe_image(path: Path) -> Probed:
    """Decode a photo to its end and return what it holds. Raises UnreadableImage."""
    with open_photo(path) as photo:
        several = photo.holds_several
        transparent = photo.check()
        width, height, orientation = photo.width, photo.height, photo.orientation
    if max(width, height) > np.iinfo(np.int16).max:
        raise UnreadableImage(f"larger than {np.iinfo(np.int16).max} pixels on a side ({width} × {height})")
    return Probed(width, height, orientation, several, transparent)


def upright_box(
    box: tuple[float, float, float, float], orientation: int, width: int, height: int
) -> tuple[float, float, float, float]:
    """Transform a box x y w h from the stored frame of a photo, width x height, to the frame as shown."""
    x, y, w, h = box
    match orientation:
        case 2:
            return width - x - w, y, w, h
        case 3:
            return width - x - w, height - y - h, w, h
        case 4:
            return x, height - y - h, w, h
        case 5:
            return y, x, h, w
        case 6:
            return height - y - h, x, h, w
        case 7:
            return height - y - h, width - x - w, h, w
        case 8:
            return y, width - x - w, h, w
    return x, y, w, h


def crop_box(
    image: Image.Image, box: np.ndarray, size: int = INPUT_SIZE, resample: Image.Resampling = BILINEAR
) -> np.ndarray:
    """Crop a RoI x y w h and resize it to size x size, without margin: uint8 [size, size, 3]."""
    x, y, w, h = (int(v) for v in box)
    patch = image.crop((x, y, x + w, y + h))
    return np.asarray(patch.resize((size, size), resample))


def center_crop(
    image: Image.Image, resize: int = SHORT_SIDE, size: int = INPUT_SIZE, resample: Image.Resampling = BILINEAR
) -> np.ndarray:
    """Resize the short side and crop the centre, for image features: uint8 [size, size, 3]."""
    image = resize_short_side(image, resize, resample)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def resize_short_side(image: Image.Image, size: int = SHORT_SIDE, resample: Image.Resampling = BILINEAR) -> Image.Image:
    """Resize a photo to a short side of ``size`` pixels. The long side is truncated to whole pixels."""
    width, height = image.size
    # As torchvision's Resize does: multiply first, or a square of 206 pixels would lose one.
    new = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    return image.resize(new, resample)


def squeeze(image: Image.Image, size: int = ATTENTION_SIZE, resample: Image.Resampling = BILINEAR) -> np.ndarray:
    """Resize the whole photo to a square, ignoring its aspect ratio: uint8 [size, size, 3] RGB."""
    return np.asarray(image.resize((size, size), resample))
