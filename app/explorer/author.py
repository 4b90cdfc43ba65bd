"""The author of verdicts and tags."""

from __future__ import annotations

import getpass


def author() -> str:
    """Return the author of verdicts and tags: the user that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return "someone"
