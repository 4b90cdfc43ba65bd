"""Photos as the viewer shows them, and the crops an encoder sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

INPUT_SIZE = 224  # pixels, of the crops and image views that an encoder embeds
SHORT_SIDE = 256  # pixels, of a whole photo before it is cut or squashed to that size
ATTENTION_SIZE = 640  # pixels, of the whole photo squeezed into a square
ATTENTION_COARSE = 0.4  # share of those sides at which attention looks at it a second time
ATTENTION_CELLS = 20  # a side of the attention map that encoders of stride 32 make of it
ATTENTION_LOOKS = 8  # numbers to a cell of it that say what the cell looks like
ATTENTION_PLANES = 1 + ATTENTION_LOOKS
ORIENTATION = 0x0112  # EXIF tag
SIXTEEN_BITS = ("PNG", "PPM")  # formats whose pixels of Pillow's mode I, 32 bits, are of 16
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # modes whose colours were multiplied by their alpha, and without that
Image.MAX_IMAGE_PIXELS = 300_000_000  # a decompression bomb raises instead of eating the memory


class Crop(NamedTuple):
    """A box x y w h of a photo, pixels as shown, and the side of the square that it becomes."""

    box: tuple[int, int, int, int] | np.ndarray
    size: int


class Stamp(NamedTuple):
    """By what the file of a photo is known again: bytes, modification time in ns, ``file_digest`` if it was taken."""

    size: int
    mtime_ns: int
    digest: int | None


class UnreadableImage(Exception):
    """A photo that cannot be decoded; the message says why in one clause."""


def file_digest(path: Path) -> int:
    """64 bits that stand for the content of a file: a signed integer, never 0. Raises OSError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).digest()
    return int.from_bytes(found, "little", signed=True) or 1


def is_same_file(path: Path, stamp: Stamp) -> bool:
    """Whether a file is the one that was stamped; it is read only where size or time have changed. Raises OSError."""
    found = path.stat()
    if (found.st_size, found.st_mtime_ns) == (stamp.size, stamp.mtime_ns):
        return True
    return found.st_size == stamp.size and stamp.digest is not None and file_digest(path) == stamp.digest


def read_image(path: Path, stamp: Stamp | None = None) -> Image.Image:
    """Decode a photo to RGB in the orientation its EXIF tag asks for.

    stamp: of the file that is meant. Raises UnreadableImage, also where another file lies in its place.
    """
    with _explained():
        if stamp is not None and not is_same_file(path, stamp):
            raise UnreadableImage("the file has changed since it was ingested")
    with _explained(), Image.open(path) as image:
        return as_rgb(ImageOps.exif_transpose(image), image.format)


def as_rgb(image: Image.Image, kind: str | None) -> Image.Image:
    """Pixels of any of Pillow's modes as 8-bit RGB, by their values. kind: the file's format. Raises UnreadableImage.

    Grey of 16 bits is divided by 257 and rounded, so that black and white stay so. Integers of 32 bits and floats have
    no agreed white, and are refused, but for those formats that keep 16 bits in them. Transparency is left out.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in SIXTEEN_BITS):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    _refuse_without_white(image, kind)
    if image.mode in PREMULTIPLIED:
        image = image.convert(PREMULTIPLIED[image.mode])
    return image.convert("RGB")


def _refuse_without_white(image: Image.Image, kind: str | None) -> None:
    if image.mode == "F" or (image.mode == "I" and kind not in SIXTEEN_BITS):
        named = "floating-point numbers" if image.mode == "F" else "integers"
        raise UnreadableImage(
            f"pixels of mode {image.mode}, 32-bit {named}, do not say which value is white; save it with 8 or 16 bits"
        )


def read_crops(path: Path, plan: Callable[[int, int], Sequence[Crop]], spare: int = 1) -> list[np.ndarray]:
    """Crops of a photo, each squashed to a square, bilinear: uint8 [size, size, 3] each.

    plan: from width and height of the photo as shown to its crops. Where none of them needs more, a JPEG is decoded at
    a half, a quarter or an eighth of its size, in a fraction of the time. spare: how many decoded pixels a crop needs
    for each of its own, along a side; with 1 it may come out sharper than of the whole photo, with 2 it looks the same.
    Raises UnreadableImage.
    """
    with _explained(), Image.open(path) as image:
        width, height = image.size
        if int(image.getexif().get(ORIENTATION, 1) or 1) >= 5:
            width, height = height, width
        crops = plan(width, height)
        reduce = max((r for r in (2, 4, 8) if all(min(c.box[2:]) >= r * spare * c.size for c in crops)), default=1)
        if reduce > 1 and image.format == "JPEG":
            image.draft("RGB", (image.width // reduce, image.height // reduce))
        decoded = as_rgb(ImageOps.exif_transpose(image), image.format)
    wide, high = decoded.width / width, decoded.height / height
    return [_squashed(decoded, c, wide, high) for c in crops]


def _squashed(image: Image.Image, crop: Crop, wide: float, high: float) -> np.ndarray:
    x, y, w, h = (int(v) for v in crop.box)
    corners = round(x * wide), round(y * high), round((x + w) * wide), round((y + h) * high)
    # resize(box=…) would let pixels beside the box bleed in.
    return np.asarray(image.crop(corners).resize((crop.size, crop.size), Image.Resampling.BILINEAR))


def probe_image(path: Path) -> tuple[int, int, int]:
    """Width and height as shown, and the EXIF orientation (1..8), of a photo proved to decode to its end.

    A JPEG is decoded at an eighth of its size: the whole file is read, at a fraction of the cost.
    Raises UnreadableImage.
    """
    with _explained(), Image.open(path) as image:
        width, height = image.size
        orientation = int(image.getexif().get(ORIENTATION, 1) or 1)
        if image.format == "JPEG":
            image.draft("RGB", (width // 8, height // 8))
        image.load()
        _refuse_without_white(image, image.format)
    if orientation not in range(1, 9):
        orientation = 1
    if orientation >= 5:
        width, height = height, width
    if max(width, height) > np.iinfo(np.int16).max:
        raise UnreadableImage(f"larger than {np.iinfo(np.int16).max} pixels on a side ({width} × {height})")
    return width, height, orientation


class _explained:
    """Turns what decoders raise into UnreadableImage with a reason a person understands."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case UnidentifiedImageError():
                raise UnreadableImage("not an image that Pillow can identify") from error
            case FileNotFoundError():
                raise UnreadableImage("the file is not there any more") from error
            case Image.DecompressionBombError():
                raise UnreadableImage(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from error
            case OSError() | SyntaxError() | ValueError() | EOFError():
                raise UnreadableImage(str(error) or type(error).__name__) from error


def upright_box(
    box: tuple[float, float, float, float], orientation: int, width: int, height: int
) -> tuple[float, float, float, float]:
    """Carry a box x y w h from the stored frame of a photo, width x height, to the frame the viewer shows."""
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


def crop_box(image: Image.Image, box: np.ndarray, size: int = INPUT_SIZE) -> np.ndarray:
    """Cut a RoI x y w h and squash it to size x size (bilinear, no context margin); uint8 [size, size, 3]."""
    x, y, w, h = (int(v) for v in box)
    patch = image.crop((x, y, x + w, y + h))
    return np.asarray(patch.resize((size, size), Image.Resampling.BILINEAR))


def center_crop(image: Image.Image, resize: int = SHORT_SIDE, size: int = INPUT_SIZE) -> np.ndarray:
    """Resize the short side (bilinear) and cut the centre, for image features; uint8 [size, size, 3]."""
    image = resize_short_side(image, resize)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def resize_short_side(image: Image.Image, size: int = SHORT_SIDE) -> Image.Image:
    """The photo with a short side of ``size`` pixels, bilinear; the long side is truncated to whole pixels."""
    width, height = image.size
    # As torchvision's Resize has it: multiplied first, or a square of 206 pixels would lose one.
    new = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    return image.resize(new, Image.Resampling.BILINEAR)


def squeeze(image: Image.Image, size: int = ATTENTION_SIZE) -> np.ndarray:
    """The whole photo as a square, its aspect ratio given up as a RoI's is: uint8 [size, size, 3] RGB, bilinear."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
