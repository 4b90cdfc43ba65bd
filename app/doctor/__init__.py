"""``orl doctor``: checks of the installation and of a workspace. They change nothing and need nothing to be whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Checked:
    """The result of one check. advice: what to do about it, empty if it is ok."""

    area: str
    subject: str
    state: State
    found: str
    advice: str = ""


def sentence(error: BaseException) -> str:
    """Return the first line of an error, without a full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
