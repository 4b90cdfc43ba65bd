"""The scripts and style sheets of components, which lie beside them."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def joined(*names: str) -> str:
    """Files of this folder as one text: a component takes one script and one style sheet."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
