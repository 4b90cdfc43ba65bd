"""An extension of Griffe: lines ``name: type, meaning`` of a docstring become a list on the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ITEM = re.compile(r"^(?P<names>\w+(?:, \w+)*): (?=\S)")


class Arrays(griffe.Extension):
    """Turns each line that begins with ``name: `` into an item of a list."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_list(obj.docstring.value)


def as_list(text: str) -> str:
    """Turn a docstring into Markdown. Its first line is the summary, never an item; a new sentence ends the list."""
    first, *others = text.split("\n")
    lines, inside = [first], False
    for line in others:
        item = _ITEM.match(line)
        ended = inside and lines[-1].endswith(".") and line[:1].isupper()
        if lines[-1] and (ended or (item and not inside)):
            lines.append("")
        lines.append(_ITEM.sub(r"- `\g<names>`: ", line))
        inside = bool(item) or (inside and bool(line) and not ended)
    return "\n".join(lines)
