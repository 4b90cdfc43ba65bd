"""Annotated boxes of a photo: from the frame in which they were drawn to that of the photo as shown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from orl_explorer.db.findings import Finding
from orl_explorer.db.photos import AnnotatedBox
from orl_explorer.orl.pixels import upright_box
from orl_explorer.train.ingest.findings import (
    CLIPPED,
    CORNERS_EXCHANGED,
    NO_AREA,
    NOT_FINITE,
    OTHER_SIZE,
    OUTSIDE_BOX,
    REPEATED_BOX,
    SCALED,
    SIDES_EXCHANGED,
    SMALL_BOX,
    Kind,
)

WRITTEN = (int, float, str)  # how files write numbers; a union would be built anew for each of millions
SLACK = 1.0  # pixels that a box may reach beyond its photo without a word: rounding, and counting from 0 or 1


@dataclass(frozen=True)
class Noted:
    """A finding about a photo whose path is not known yet."""

    kind: Kind
    detail: str = ""


@dataclass(frozen=True)
class Annotated:
    """Annotations of one photo, in the frame of the size that the annotation file declares (0 if none).

    names: what the file calls each box, for findings. noted: what reading the file left out or changed.
    """

    boxes: tuple[AnnotatedBox, ...]
    width: int = 0
    height: int = 0
    names: tuple[str, ...] = field(default=(), compare=False)
    noted: tuple[Noted, ...] = ()

    def findings(self, path: str, also: tuple[Noted, ...] = ()) -> list[Finding]:
        """Return the findings about the photo of this path."""
        return [one.kind.of(path, detail=one.detail) for one in (*self.noted, *also)]


@dataclass(frozen=True)
class _Frame:
    """How boxes get into the photo as shown: turned from the stored frame or not, after they are scaled."""

    turned: bool
    wide: float = 1.0
    high: float = 1.0


def boxes_as_shown(
    annotated: Annotated, orientation: int, width: int, height: int
) -> tuple[tuple[AnnotatedBox, ...], tuple[Noted, ...]]:
    """Return annotated boxes in the frame as shown, width x height, and what was left out or changed.

    Not all annotation tools apply the EXIF orientation. If it turns the photo by 90 degrees, the declared size tells
    which frame the boxes are in; otherwise they are assumed to be in the stored frame. Boxes that were drawn at another
    size are scaled. Every box returned is finite, has an area, and lies in the photo.
    """
    frame, noted = _frame(annotated, orientation, width, height)
    if frame is None:
        return (), tuple(noted)
    stored = (height, width) if orientation >= 5 else (width, height)
    shown: dict[AnnotatedBox, None] = {}
    for box, name in zip(annotated.boxes, annotated.names or [""] * len(annotated.boxes), strict=True):
        x, y, w, h = box.x * frame.wide, box.y * frame.high, box.w * frame.wide, box.h * frame.high
        if not all(map(math.isfinite, (x, y, w, h, x + w, y + h))):
            noted.append(Noted(NOT_FINITE, name))
            continue
        if w < 0 or h < 0:
            noted.append(Noted(CORNERS_EXCHANGED, name))
            x, y, w, h = min(x, x + w), min(y, y + h), abs(w), abs(h)
        if frame.turned:
            x, y, w, h = upright_box((x, y, w, h), orientation, *stored)
        inside = _clipped(x, y, w, h, width, height)
        if w == 0 or h == 0:
            noted.append(Noted(NO_AREA, name))
        elif inside is None:
            noted.append(Noted(OUTSIDE_BOX, name))
        elif w < 1 and h < 1:
            noted.append(Noted(SMALL_BOX, name))
        elif (found := replace(box, x=inside[0], y=inside[1], w=inside[2], h=inside[3])) in shown:
            noted.append(Noted(REPEATED_BOX, name))
        else:
            if max(-x, -y, x + w - width, y + h - height) > SLACK:
                noted.append(Noted(CLIPPED, name))
            shown[found] = None
    return tuple(shown), tuple(noted)


def _clipped(
    x: float, y: float, w: float, h: float, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Return the part of a box inside the photo, or None. A box that lies inside stays bit by bit."""
    if x >= 0 and y >= 0 and x + w <= width and y + h <= height:
        return x, y, w, h
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


def _frame(annotated: Annotated, orientation: int, width: int, height: int) -> tuple[_Frame | None, list[Noted]]:
    """Return how boxes get from the declared frame to that as shown; None if the declared size fits neither."""
    declared, shown = (annotated.width, annotated.height), (width, height)
    quarter_turn = orientation >= 5
    stored = shown[::-1] if quarter_turn else shown
    if not annotated.boxes or min(declared) <= 0 or declared == stored:
        return _Frame(orientation != 1), []
    if declared == shown:  # of a photo that is turned by 90 degrees
        return _Frame(False), []
    size = f"annotated at {declared[0]} × {declared[1]}"
    for turned, frame in ((True, stored), (False, shown)) if quarter_turn else ((orientation != 1, shown),):
        if _is_scaled(declared, frame):
            return _Frame(turned, frame[0] / declared[0], frame[1] / declared[1]), [Noted(SCALED, size)]
    if declared == shown[::-1] and all(_fits(box, width, height) for box in annotated.boxes):
        return _Frame(orientation != 1), [Noted(SIDES_EXCHANGED, size)]
    return None, [Noted(OTHER_SIZE, f"{size}, is {width} × {height}")]


def _is_scaled(declared: tuple[int, int], frame: tuple[int, int]) -> bool:
    """Return whether two sizes have the same aspect, but for rounding to whole pixels."""
    wide, high = frame[0] / declared[0], frame[1] / declared[1]
    return abs(wide - high) <= max(1, wide, high) / min(*declared, *frame)


def _fits(box: AnnotatedBox, width: int, height: int) -> bool:
    return -SLACK <= box.x <= box.x + box.w <= width + SLACK and -SLACK <= box.y <= box.y + box.h <= height + SLACK


def joined(one: Annotated, other: Annotated) -> Annotated:
    """Return the annotations of two entries of one photo, in the frame of the first that declares a size."""
    here, there = (one.width, one.height), (other.width, other.height)
    boxes, names, noted = other.boxes, other.names, other.noted
    if min(*here, *there) > 0 and here != there and boxes:
        size = f"also annotated at {there[0]} × {there[1]}"
        if _is_scaled(there, here):
            wide, high = here[0] / there[0], here[1] / there[1]
            boxes = tuple(replace(b, x=b.x * wide, y=b.y * high, w=b.w * wide, h=b.h * high) for b in boxes)
            noted = (*noted, Noted(SCALED, size))
        else:
            boxes, names, noted = (), (), (*noted, Noted(OTHER_SIZE, f"{size}; those boxes are left out"))
    width, height = here if min(here) > 0 else there
    return Annotated(one.boxes + boxes, width, height, one.names + names, one.noted + noted)


def number(value: object) -> float | None:
    """Return a number that an annotation file holds as a number or as a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, WRITTEN):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf
    except ValueError:
        return None


def side(value: object) -> int:
    """Return a declared width or height in whole pixels; 0 for anything that is not a positive number."""
    found = number(value)
    return round(found) if found is not None and 0 < found < 1e9 else 0


def truth(value: object) -> bool:
    """Return whether a flag is set: 1 or true, also as a text."""
    return str(value).strip().lower() in ("1", "true", "yes", "1.0")


def boxes_of(found: Iterator[tuple[AnnotatedBox, str] | Noted], width: int = 0, height: int = 0) -> Annotated:
    """Collect boxes with their names, and notes, into one photo's annotations."""
    boxes, names, noted = [], [], []
    for one in found:
        if isinstance(one, Noted):
            noted.append(one)
        else:
            boxes.append(one[0])
            names.append(one[1])
    return Annotated(tuple(boxes), width, height, tuple(names), tuple(noted))
