"""The formats of photos that can be read, and the suffixes of their files."""

from __future__ import annotations

from contextlib import suppress

from PIL import features

# Pillow's names of the formats that are read, and the suffixes of their files. Pillow knows more formats. Some start
# other programs (EPS starts Ghostscript), some are videos, and some have no signature, so that any file could be one.
READABLE = {
    # .mpo: a JPEG and more pictures after it. Pillow opens it as a JPEG and then names it MPO.
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
AVIF = (".avif", ".avifs")
HEIF = (".heic", ".heif", ".heics", ".heifs", ".hif")
# Files that hold pictures too, which nothing here reads: cameras' raw files, drawings, and other formats.
RAW = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
DRAWINGS = (".ai", ".emf", ".eps", ".svg", ".svgz", ".wmf")
FURTHER = (
    *(".bpg", ".cur", ".dcm", ".dds", ".exr", ".fits", ".hdp", ".hdr", ".icns", ".ico", ".jxl", ".jxr", ".kra"),
    *(".pcx", ".pfm", ".psb", ".psd", ".qoi", ".sgi", ".tga", ".wdp", ".xbm", ".xcf", ".xpm"),
)
# Files that may hold photos, and are never opened.
PACKED_SUFFIXES = frozenset(
    (
        *(".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"),
        *(".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mts", ".3gp", ".wmv", ".mpg", ".mpeg"),
    )
)


def _readable() -> dict[str, tuple[str, ...]]:
    """Return the readable formats, with AVIF if Pillow was built with it and HEIF if pillow-heif is installed."""
    found = dict(READABLE)
    if features.check("avif"):
        found["AVIF"] = AVIF
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
        found["HEIF"] = HEIF
    return found


_found = _readable()
FORMATS = tuple(_found)  # as Image.open takes them
SUFFIXES = frozenset(suffix for suffixes in _found.values() for suffix in suffixes)
OTHER_PICTURES = frozenset((*RAW, *DRAWINGS, *FURTHER, *AVIF, *HEIF)) - SUFFIXES
