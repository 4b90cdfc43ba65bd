"""Datasets in the layout of Pascal VOC: photos in JPEGImages, an XML of boxes for each in Annotations."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from orl_explorer.db.photos import AnnotatedBox
from orl_explorer.train.errors import UserError
from orl_explorer.train.ingest.annotated import Annotated, Noted, boxes_of, number, side, truth
from orl_explorer.train.ingest.findings import (
    BROKEN_ANNOTATIONS,
    CORNERS_EXCHANGED,
    NO_ANNOTATIONS,
    NO_BOX,
    UNKNOWN_CATEGORY,
    XML_OF_SEVERAL,
    XML_WITHOUT_PHOTO,
    Findings,
)
from orl_explorer.train.ingest.walk import loosely, walk
from orl_explorer.train.words import storable

CORNERS = ("xmin", "ymin", "xmax", "ymax")
MOST_BYTES = 64 << 20  # of an XML


class VOC:
    """The photos of a folder and their annotations, by path relative to it. Raises UserError if it is no VOC folder."""

    def __init__(self, root: Path, findings: Findings) -> None:
        if not (root / "JPEGImages").is_dir():
            raise UserError(
                f"{root} has no JPEGImages folder. VOC has photos in JPEGImages, boxes in Annotations/*.xml."
            )
        self._root = root
        self.paths = list(walk(root, "JPEGImages/", findings))
        there = (root / "Annotations").is_dir()
        files = list(walk(root, "Annotations/", findings, suffixes=(".xml",))) if there else []
        if not files:
            findings.add([NO_ANNOTATIONS.of("Annotations")])
        self._xml_of = _matched(self.paths, files, findings)
        used = set(self._xml_of.values())
        findings.add(XML_WITHOUT_PHOTO.of(file) for file in files if file not in used)

    def lists(self, path: str) -> bool:
        """Whether a photo has an XML."""
        return path in self._xml_of

    def annotated(self, path: str) -> Annotated | None:
        """Return the annotations of a photo, or None if it has none. An XML that cannot be read is noted."""
        xml = self._xml_of.get(path)
        if xml is None:
            return None
        try:
            return read_voc(self._root / xml)
        except UserError as error:
            reason = str(error).partition(": ")[2].rstrip(".")
            return Annotated((), noted=(Noted(BROKEN_ANNOTATIONS, f"{xml}: {reason}"),))


def _matched(paths: list[str], files: list[str], findings: Findings) -> dict[str, str]:
    """Return the XML of each photo that has one.

    It is that of the same subfolder, else one directly in Annotations that fits no other photo. Names that differ only
    in capitals or in the encoding of accents match if nothing else does.
    """
    known = {file: file for file in files}
    chosen: dict[str, str] = {}
    for of_name, beside in ((str, True), (loosely, True), (str, False), (loosely, False)):
        of_file: dict[str, str] = {}
        for file in known:
            of_file.setdefault(of_name(file), file)
        claims: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            if path not in chosen:
                xml = of_file.get(
                    of_name(_xml_beside(path) if beside else f"Annotations/{PurePosixPath(path).stem}.xml")
                )
                if xml is not None:
                    claims[xml].append(path)
        for xml, claiming in claims.items():
            del known[xml]
            if len(claiming) == 1:
                chosen[claiming[0]] = xml
            else:
                findings.add([XML_OF_SEVERAL.of(xml, detail=f"{len(claiming)} photos, such as {claiming[0]}")])
    return chosen


def _xml_beside(path: str) -> str:
    return str(PurePosixPath("Annotations", PurePosixPath(path).relative_to("JPEGImages")).with_suffix(".xml"))


def read_voc(file: Path) -> Annotated:
    """Read the boxes of a VOC XML, whose pixels count from 1. Raises UserError if the file is no such XML.

    What cannot be used of an object is in ``noted``.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES >> 20} MB")
        tree = ElementTree.parse(file).getroot()
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}.") from error
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:  # LookupError: of an encoding
        raise UserError(f"{file} is not a VOC annotation: {error}.") from error
    if tree.tag != "annotation":
        raise UserError(f"{file} is not a VOC annotation: its root is <{tree.tag}>, not <annotation>.")
    return boxes_of(_objects(tree), side(tree.findtext("size/width")), side(tree.findtext("size/height")))


def _objects(tree: ElementTree.Element) -> Iterator[tuple[AnnotatedBox, str] | Noted]:
    # An object may have several boxes. One without any has no corners itself either.
    each = ((place, one, box) for place, one in enumerate(tree.iter("object"), 1) for box in _boxes(one))
    for place, found, corners in each:
        called = f"object {place}"
        values = [number((corners.findtext(corner) or "").strip()) for corner in CORNERS]
        name = storable((found.findtext("name") or "").strip())
        if None in values:
            yield Noted(NO_BOX, called)
            continue
        if not name:
            yield Noted(UNKNOWN_CATEGORY, called)
            continue
        left, top, right, bottom = (value for value in values if value is not None)
        if left > right or top > bottom:
            yield Noted(CORNERS_EXCHANGED, called)
            left, top, right, bottom = min(left, right), min(top, bottom), max(left, right), max(top, bottom)
        box = AnnotatedBox(
            name, left - 1, top - 1, right - left + 1, bottom - top + 1, truth(found.findtext("difficult"))
        )
        yield box, called


def _boxes(found: ElementTree.Element) -> list[ElementTree.Element]:
    return found.findall("bndbox") or [found]
