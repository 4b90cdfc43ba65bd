"""The scripts and style sheets of components, named from the folder of the explorer."""

from __future__ import annotations

from pathlib import Path

_APP = Path(__file__).parents[1]


def joined(*names: str) -> str:
    """Files as one text, named from `app/`: a component takes one script and one style sheet."""
    return "\n".join((_APP / name).read_text(encoding="utf-8") for name in names)
