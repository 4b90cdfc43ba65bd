"""Texts of people as they are, in Markdown."""

from __future__ import annotations

import re
from unicodedata import category

MARKUP = r"\`*_{}[]()#+-.!|<>~:$&="  # characters that Markdown may take for more than themselves


def escape(text: str) -> str:
    """Escape a text for Markdown. It stays on one line: what would break it or turn its direction is written out."""
    return "".join("\\" + c if c in MARKUP else _written_out(c) for c in text)


def code(text: str) -> str:
    """Return a text as a code span of Markdown, also if it holds backticks."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def _written_out(character: str) -> str:
    turns = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    if turns or category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return "\\\\" + character.encode("unicode_escape").decode()[1:]
    return character
