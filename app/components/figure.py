"""Data for saving a view as a figure or sharing it as a link."""

from __future__ import annotations

from typing import TypedDict


class Figure(TypedDict):
    """name: file name without extension. caption: sentences. place: further URL parameters of a permanent link."""

    name: str
    caption: list[str]
    place: dict[str, str | list[str]]
