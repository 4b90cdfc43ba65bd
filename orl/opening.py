"""Opening a photo's file: its size and orientation as shown, and its pixels. All decoding by Pillow is here."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from orl_explorer.orl.formats import FORMATS

ORIENTATION = 0x0112  # EXIF tag
WIDTH, HEIGHT = 256, 257  # TIFF tags
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
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


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
            decoded = image if self.format != "TIFF" else image.copy()
        if not (reduce > 1 and self.is_jpeg) and decoded.size != self._stored:
            raise UnreadableImage("its header declares another size")
        return decoded

    def upright(self, reduce: int = 1) -> Image.Image:
        """Decode the pixels as shown, in the mode of the file. Raises UnreadableImage."""
        decoded = self.stored(reduce)
        with decoding():
            return decoded.transpose(TURNS[self.orientation]) if self.orientation > 1 else decoded


@contextmanager
def open_photo(path: Path) -> Iterator[OpenPhoto]:
    """Open a photo for the body of the context. Raises UnreadableImage, also for what is not a regular file."""
    with decoding():
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImage("not a regular file")
        image = Image.open(path, formats=FORMATS)
    with image:
        with decoding():
            photo = OpenPhoto(image)
        yield photo


def _orientation(image: Image.Image) -> int:
    """Return the EXIF or XMP orientation, 1 if it is not one integer of 1 to 8 or cannot be parsed."""
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
            return f"more than {MOST_PIXELS} pixels"
        case MemoryError():
            return "decoding it needs more memory than there is"
        case OSError(strerror=str(said)):
            return said
        case OSError() | SyntaxError() | ValueError() | EOFError():
            return str(error) or type(error).__name__
    return f"Pillow cannot decode it ({type(error).__name__}: {error})"
