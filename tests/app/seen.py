"""Readers of the content of a page that ran without a browser."""

from __future__ import annotations

import json
from typing import Any

from streamlit.testing.v1 import AppTest


def words(at: AppTest) -> str:
    """Return all text of a page, in Markdown."""
    kinds = (at.markdown, at.caption, at.info, at.error, at.warning, at.subheader)
    return " ".join(str(e.value) for kind in kinds for e in kind)


def plain(at: AppTest) -> str:
    """Return all text of a page, without Markdown's escapes."""
    return words(at).replace("\\", "")


def component(at: AppTest, number: int = 0) -> dict[str, Any]:
    """Return the payload that the page sent to a component."""
    return json.loads(at.get("bidi_component")[number].proto.json)
