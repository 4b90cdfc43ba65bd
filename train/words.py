"""Counts in words, and names from elsewhere as text that any store and terminal takes."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: *1 photo*, *2,000 photos*."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def whole_number(text: str, most: int = 2**31 - 1) -> int | None:
    """Return the number that a text writes in digits, or None if it is no such number from 0 to ``most``."""
    if not text.isdecimal() or len(text) > len(str(most)):
        return None
    return found if (found := int(text)) <= most else None


def is_utf8(name: str) -> bool:
    """Return whether the bytes of a name are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(text: str) -> str:
    """Return a text that any database stores: bytes that are not UTF-8 and NUL are escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def visible(text: str) -> str:
    """Return a text in one line: control characters and bytes that are not UTF-8 are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in storable(text))


def printable(name: str) -> str:
    """Return a name for people: as ``visible``, with quotes around outer spaces."""
    shown = visible(name)
    return f"'{shown}'" if shown != shown.strip() or not shown else shown
