"""Counts in words."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: *1 photo*, *2,000 photos*."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
