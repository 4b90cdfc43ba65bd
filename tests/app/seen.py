"""What a page that ran without a browser shows."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def words(at: AppTest) -> str:
    """All the text of a page, in Markdown."""
    kinds = (at.markdown, at.caption, at.info, at.error, at.warning, at.subheader)
    return " ".join(str(e.value) for kind in kinds for e in kind)


def plain(at: AppTest) -> str:
    """All the text of a page, without the escapes of Markdown."""
    return words(at).replace("\\", "")


def component(at: AppTest, number: int = 0) -> dict[str, Any]:
    """What the page sent to one of its components."""
    return json.loads(at.get("bidi_component")[number].proto.json)
