"""What an ingest leaves out, changes or guesses: each kind with its label and the sentence that explains it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from orl_explorer.db.findings import Finding
from orl_explorer.train.words import printable, storable

About = Literal["files", "photos", "annotations", "boxes"]
KEPT = 10_000  # names of each kind that are kept; the others are counted in one finding without a name
NAMED = 3  # names of each kind that a summary lists


@dataclass(frozen=True)
class Kind:
    """A kind of findings.

    name: as stored. about: what its findings count. label: for a heading. said: what happened to them, and the remedy.
    """

    name: str
    about: About
    label: str
    said: str

    def of(self, name: str, count: int = 1, detail: str = "") -> Finding:
        """Return a finding of this kind. name: the file, photo or other thing. detail: the reason, in one clause."""
        return Finding(self.name, name, count, detail)


HIDDEN = Kind(
    "hidden",
    "files",
    "Hidden files and folders",
    "A name that starts with a dot, and the folder __MACOSX, are passed over.",
)
OTHER_FORMAT = Kind(
    "other-format",
    "files",
    "Pictures in other formats",
    "Files with this ending are not read. Convert them to JPEG or PNG.",
)
PACKED = Kind(
    "packed",
    "files",
    "Archives and videos",
    "They are not opened. Unpack an archive beside its file; save the frames of a video as photos.",
)
LINK_BACK = Kind(
    "link-back",
    "files",
    "Links that lead back",
    "A link to itself, or to a folder whose photos are taken in anyway, is passed over.",
)
LINKED_TWICE = Kind(
    "linked-twice",
    "files",
    "Links to photos that are there already",
    "A photo that has a second name by a link is taken in once.",
)
NOT_A_FILE = Kind("not-a-file", "files", "Pipes, sockets and devices", "They are never opened, whatever their name.")
NOT_UTF8 = Kind(
    "not-utf8", "files", "Names that are not UTF-8", "A file with such a name is left out. Rename it, or its folder."
)
CLOSED_FOLDER = Kind("closed-folder", "files", "Folders that cannot be read", "Their photos are not taken in.")
ANNOTATIONS_NOT_TAKEN = Kind(
    "annotations-not-taken",
    "files",
    "Annotation files that were not read",
    "The photos are taken as a plain folder. Name a COCO file with --annotations FILE; "
    "arrange VOC in JPEGImages and Annotations. Convert labels of YOLO, .txt, to one of them.",
)
NO_ANNOTATIONS = Kind(
    "no-annotations", "files", "Folders without annotation files", "The photos are taken in without boxes."
)
BROKEN_ANNOTATIONS = Kind(
    "broken-annotations",
    "photos",
    "Photos whose annotation file cannot be read",
    "They are taken in without boxes. Mend the file and ingest again.",
)
XML_WITHOUT_PHOTO = Kind(
    "xml-without-photo", "files", "Annotation files without a photo", "No photo in JPEGImages has this name."
)
XML_OF_SEVERAL = Kind(
    "xml-of-several",
    "files",
    "Annotation files that fit several photos",
    "Their boxes are given to none. Put each file into the same subfolder of Annotations as its photo of JPEGImages.",
)

UNNAMED_PHOTO = Kind(
    "unnamed-photo", "photos", "Photos without a file name", "An image whose file_name is missing is left out."
)
OUTSIDE_PHOTO = Kind(
    "outside-photo",
    "photos",
    "Photos outside the folder",
    "An image that is an address, or that lies outside the folder, is not read.",
)
SEVERAL_FILES = Kind(
    "several-files",
    "photos",
    "Photos whose name fits several files",
    "They are left out. Write their folder into file_name.",
)
LISTED_TWICE = Kind(
    "listed-twice", "photos", "Photos that are listed twice", "They are taken in once, with the boxes of all entries."
)
SHARED_ID = Kind(
    "shared-id",
    "photos",
    "Photos that share an id",
    "The annotations of this id fit several photos. They are left out.",
)
LOOSE_NAME = Kind(
    "loose-name",
    "photos",
    "Photos found under another spelling",
    "The only file whose name differs in capitals or in the encoding of accents is taken.",
)
UNLISTED = Kind(
    "unlisted",
    "photos",
    "Photos that the annotation file does not list",
    "They are not taken in. Those that the dataset has already stay in it.",
)
KEPT_BOXES = Kind(
    "kept-boxes",
    "photos",
    "Photos that keep the boxes of an earlier ingest",
    "The annotations of this ingest do not list them. If these boxes are no longer right, ingest under another --name.",
)
SCALED = Kind(
    "scaled",
    "photos",
    "Photos annotated at another size",
    "Their boxes are scaled from the size that the annotations declare to that of the photo.",
)
SIDES_EXCHANGED = Kind(
    "sides-exchanged",
    "photos",
    "Photos whose declared width and height are exchanged",
    "Their boxes fit the photo and are taken as they are.",
)
SEVERAL_PICTURES = Kind(
    "several-pictures",
    "photos",
    "Files of several pictures",
    "The first frame of an animation, or the first page, is taken.",
)
TRANSPARENT = Kind(
    "transparent",
    "photos",
    "Photos with transparent pixels",
    "They count as opaque, in the colour that the file gives them.",
)
OTHER_SIZE = Kind(
    "other-size",
    "photos",
    "Photos of another shape than their annotations declare",
    "They are taken in without boxes.",
)

UNKNOWN_PHOTO = Kind(
    "unknown-photo",
    "annotations",
    "Annotations without a photo",
    "An annotation whose image_id is not that of one photo in the file is left out.",
)
UNKNOWN_CATEGORY = Kind(
    "unknown-category",
    "annotations",
    "Annotations of an unknown category",
    "An annotation whose category is missing, or does not have one name in the file, is left out.",
)
NO_BOX = Kind(
    "no-box", "annotations", "Annotations without a box", "An annotation without a box of four numbers is left out."
)
MALFORMED = Kind("malformed", "annotations", "Entries of another form", "An entry that is not an object is left out.")

NOT_FINITE = Kind(
    "not-finite", "boxes", "Boxes that are not finite", "A box with an infinite or undefined number is left out."
)
NO_AREA = Kind("no-area", "boxes", "Boxes without area", "A box whose width or height is zero or negative is left out.")
SMALL_BOX = Kind(
    "small-box",
    "boxes",
    "Boxes smaller than a pixel",
    "They are left out. If all boxes are, the numbers may be shares of the photo's size. COCO and VOC count pixels.",
)
REPEATED_BOX = Kind(
    "repeated-box",
    "boxes",
    "Boxes that a photo has twice",
    "Boxes of the same category at the same place are taken once.",
)
OUTSIDE_BOX = Kind("outside-box", "boxes", "Boxes outside the photo", "A box without a part in its photo is left out.")
CLIPPED = Kind(
    "clipped", "boxes", "Boxes that reach beyond the photo", "The part outside, of more than a pixel, is cut off."
)
CORNERS_EXCHANGED = Kind(
    "corners-exchanged", "boxes", "Boxes with exchanged corners", "The smaller coordinate is taken as the first."
)
FROM_OUTLINE = Kind(
    "from-outline",
    "boxes",
    "Boxes made from outlines",
    "An annotation without a box gets that around its segmentation.",
)

KINDS = {kind.name: kind for kind in vars().copy().values() if isinstance(kind, Kind)}


class Findings:
    """The findings of an ingest in progress, by kind. One name has one finding of a kind, which adds up its counts."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Finding]] = {}

    def add(self, found: Iterable[Finding]) -> None:
        """Add findings. If a kind has more than ``KEPT`` names, the others are counted under the name ""."""
        for one in found:
            one = replace(one, name=storable(one.name), detail=storable(one.detail))
            named = self._found.setdefault(one.kind, {})
            if one.name not in named and len(named) >= KEPT:
                one = replace(one, name="", detail="", image_id=None)
            known = named.get(one.name)
            named[one.name] = one if known is None else replace(known, count=known.count + one.count)

    def all(self) -> list[Finding]:
        """Return the findings, kind by kind in the order of ``KINDS``, the names in the order in which they came."""
        return [one for kind in KINDS for one in self._found.get(kind, {}).values()]


def sentences(found: Sequence[Finding]) -> list[str]:
    """Return one line for each kind: its label, the count, the first names with their reasons, and what happened."""
    lines = []
    for kind in KINDS.values():
        ours = [one for one in found if one.kind == kind.name]
        if ours:
            total = sum(one.count for one in ours)
            listed = [_named(one) for one in ours[:NAMED]]
            more = [f"and {len(ours) - NAMED:,} more"] if len(ours) > NAMED else []
            lines.append(f"{kind.label}: {total:,} ({'; '.join(listed + more)}). {kind.said}")
    return lines


def _named(one: Finding) -> str:
    times = f" ({one.count:,})" if one.count > 1 else ""
    return f"{printable(one.name)}{times}" + (f": {printable(one.detail)}" if one.detail else "")
