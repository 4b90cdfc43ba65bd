"""The account that runs this process."""

from __future__ import annotations

import getpass


def account() -> str:
    """Return the name of the account that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return "someone"
