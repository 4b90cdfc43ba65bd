"""A bell in the sidebar: the browser tells when a run has ended, if a person asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from orl_explorer.app.components.bundle import registered


class EndedRun(TypedDict):
    """A run that ended since the page was opened. said: how, for people."""

    id: int
    said: str


class BellPayload(TypedDict):
    """Data of the component. live: how many runs work or wait."""

    live: int
    ended: list[EndedRun]


_bell = registered("orl_bell", "components/notify", '<div class="bell"></div>')


def bell(live: int, ended: Sequence[EndedRun], *, key: str) -> None:
    """Draw the bell, while runs work or wait, and tell of those that ended."""
    data: BellPayload = {"live": live, "ended": list(ended)}
    _bell(key=key, data=data)
