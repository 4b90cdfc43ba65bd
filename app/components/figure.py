"""What a view needs in order to be saved as a figure, or shared as a link."""

from __future__ import annotations

from typing import TypedDict


class Figure(TypedDict):
    """``name`` of the file, without its kind; ``caption``: sentences; ``place``: what a lasting link says besides."""

    name: str
    caption: list[str]
    place: dict[str, str | list[str]]
