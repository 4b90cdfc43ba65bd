"""Opening a photo's file: its size and orientation as shown, and its pixels in RGB. All decoding by Pillow is here."""

from __future__ import annotations

import io
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from orl_explorer.orl.formats import FORMATS, HEIF, SUFFIXES

ORIENTATION = 0x0112  # EXIF tag
WIDTH, HEIGHT, BITS, PHOTOMETRIC, SAMPLE_FORMAT = 256, 257, 258, 262, 339  # TIFF tags
WHITE_IS_ZERO, SIGNED = 0, 2  # values of the last two
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MOST_PIXELS = 300_000_000  # of a photo; a decompression bomb would fill the memory
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow refuses twice as many, and warns of fewer, which are refused below
# Texts and colour profiles of a PNG, unpacked. Pillow refuses the photo for a text of 1 MiB, as editors write them.
PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20, 256 << 20
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of metadata that Pillow cannot parse or has no use for. They would be printed once a photo, without its name.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
SIXTEEN_BITS = ("PNG", "PPM")  # formats that Pillow decodes to mode I, 32 bits, though pixels have 16
OPAQUE = ("1", "L", "P", "RGB")  # modes without alpha
PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}  # modes with colours multiplied by alpha, and the modes without

NOT_THERE = "the file is not there any more"


class UnreadableImage(Exception):
    """A photo that cannot be decoded; the message says why in one clause."""


class OpenPhoto:
    """A photo's file that Pillow has opened. width, height: as shown, pixels; orientation: 1..8, of its EXIF tag."""

    def __init__(self, image: ImageFile.ImageFile) -> None:
        self._image = image
        stored = image.size
        if image.format == "TIFF":  # Pillow may have swapped the sides already
            stored = image.tag_v2[WIDTH], image.tag_v2[HEIGHT]  # type: ignore[attr-defined]
            image.filename = ""  # or Pillow maps the file into memory by the swapped size
        if stored[0] * stored[1] > MOST_PIXELS:
            raise UnreadableImage(f"more than {MOST_PIXELS} pixels ({stored[0]} × {stored[1]})")
        self.orientation = _orientation(image)
        self.width, self.height = stored if self.orientation < 5 else stored[::-1]
        self.format = image.format
        self._stored = stored

    @property
    def holds_several(self) -> bool:
        """Whether the file holds further pictures: frames of an animation, or pages. A JPEG's are previews."""
        with decoding():
            return not self.is_jpeg and bool(getattr(self._image, "is_animated", False))

    @property
    def is_jpeg(self) -> bool:
        """Whether the photo can be decoded at a part of its size."""
        return self.format in ("JPEG", "MPO")

    def stored(self, reduce: int = 1) -> Image.Image:
        """Decode the pixels as the file stores them; a JPEG at 1/reduce of its size. Raises UnreadableImage."""
        image = self._image
        with decoding():
            if reduce > 1 and self.is_jpeg:
                image.draft("RGB", (max(1, image.width // reduce), max(1, image.height // reduce)))
            image.load()
            # A copy has the size of the decoded pixels, also of a TIFF whose sides Pillow has swapped.
            decoded = image if self.format != "TIFF" else _whole_range(image)
        if not (reduce > 1 and self.is_jpeg) and decoded.size != self._stored:
            raise UnreadableImage("its header declares another size")
        return decoded

    def rgb(self, reduce: int = 1, *, upright: bool = True) -> Image.Image:
        """Decode the pixels to 8-bit RGB, as shown or as the file stores them. Raises UnreadableImage."""
        decoded = self.stored(reduce)
        with decoding():
            turned = decoded.transpose(TURNS[self.orientation]) if upright and self.orientation > 1 else decoded
            return as_rgb(turned, self.format)

    def check(self) -> bool:
        """Decode the photo to its end. Return whether it has transparent pixels, which ``rgb`` shows as opaque.

        A JPEG is decoded at an eighth of its size: this reads the whole file in a fraction of the time.
        Raises UnreadableImage, also if the photo's mode cannot be converted to RGB.
        """
        decoded = self.stored(reduce=8)
        with decoding():
            as_rgb(decoded.crop((0, 0, 1, 1)), self.format)  # whether a mode converts depends on no pixel
            return _is_transparent(decoded)


@contextmanager
def open_photo(path: Path) -> Iterator[OpenPhoto]:
    """Open a photo for the body of the context. Raises UnreadableImage, also for what is not a regular file."""
    with decoding():
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImage("not a regular file")
        _refuse_missing_decoder(path)
        image = Image.open(path, formats=FORMATS)
    with _opened(image) as photo:
        yield photo


@contextmanager
def open_bytes(data: bytes) -> Iterator[OpenPhoto]:
    """Open the content of a photo's file for the body of the context. Raises UnreadableImage."""
    with decoding():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    with _opened(image) as photo:
        yield photo


@contextmanager
def _opened(image: ImageFile.ImageFile) -> Iterator[OpenPhoto]:
    with image:
        with decoding():
            photo = OpenPhoto(image)
        yield photo


def _orientation(image: Image.Image) -> int:
    """Return the EXIF or XMP orientation, the first of several; 1 if it is no integer of 1 to 8 or cannot be parsed."""
    if image.format == "PNG":
        image.load()  # EXIF may follow the pixels; a failure to decode those is not one of EXIF
    try:
        exif = image.getexif()
        found = exif.get(ORIENTATION, 1)
    except Exception:  # what Pillow cannot parse counts as absent
        found = 1
    if image.format == "TIFF":
        exif = image.getexif()
        for tag in list(exif):  # or Pillow turns the pixels by a rule of its own when it loads them
            del exif[tag]
    return found if type(found) is int and found in TURNS else 1


def _is_transparent(image: Image.Image) -> bool:
    if image.mode in OPAQUE and "transparency" in image.info:  # one colour or palette entry is transparent
        image = image.convert("RGBA")
    alpha = next((band for band in image.getbands() if band in "Aa"), None)
    return alpha is not None and image.getchannel(alpha).getextrema()[0] < 255  # type: ignore[operator]


def _whole_range(image: Image.Image) -> Image.Image:
    """Return a copy of a TIFF's pixels, grey of 12 or 16 bits from black at 0 to white at 65535."""
    bits, tags = image.mode.startswith("I;16"), image.tag_v2  # type: ignore[attr-defined]
    if image.mode == "L" and SIGNED in tags.get(SAMPLE_FORMAT, ()):  # of more bits, they have mode I
        raise UnreadableImage("signed pixels do not define white; save it with unsigned pixels")
    white = 2 ** tags[BITS][0] - 1 if bits else 0
    inverted = bits and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO  # in other modes, Pillow inverts them itself
    if white in (0, 65535) and not inverted:
        return image.copy()
    values = np.asarray(image).astype(np.uint32)
    scaled = (values * 65535 + white // 2) // white
    return Image.fromarray((65535 - scaled if inverted else scaled).astype(np.uint16))


def as_rgb(image: Image.Image, kind: str | None) -> Image.Image:
    """Convert pixels of any of Pillow's modes to 8-bit RGB. kind: the file's format. Raises UnreadableImage.

    16-bit grey is divided by 257 and rounded, so that black stays black and white stays white. 32-bit integers and
    floats have no agreed white and are refused, except in formats that store 16 bits in them. Transparency is dropped.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in SIXTEEN_BITS):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        named = "floating-point numbers" if image.mode == "F" else "integers"
        raise UnreadableImage(
            f"pixels of mode {image.mode}, 32-bit {named}, do not define white; save it with 8 or 16 bits"
        )
    if image.mode in PREMULTIPLIED:
        image = image.convert(PREMULTIPLIED[image.mode])
    return image.convert("RGB")


def _refuse_missing_decoder(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in HEIF and suffix not in SUFFIXES:
        raise UnreadableImage("HEIC needs another package: pip install 'orl-explorer[heic]'")


@contextmanager
def decoding() -> Iterator[None]:
    """Turn the errors of files and decoders into UnreadableImage with a plain reason.

    Only what reads a file belongs into this context: errors of other code would be hidden.
    """
    try:
        yield
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(_reason(error)) from error


def _reason(error: Exception) -> str:
    match error:
        case UnidentifiedImageError():
            return "not an image that Pillow can identify"
        case FileNotFoundError() | NotADirectoryError():
            return NOT_THERE
        case Image.DecompressionBombError():
            found = re.search(r"\d+", str(error))
            return f"more than {MOST_PIXELS} pixels ({found[0]})" if found else f"more than {MOST_PIXELS} pixels"
        case MemoryError():
            return "decoding it needs more memory than there is"
        case OSError(strerror=str(said)):
            return said
        case OSError() | SyntaxError() | ValueError() | EOFError():
            return str(error) or type(error).__name__
    return f"Pillow cannot decode it ({type(error).__name__}: {error})"
