"""The ``orl`` command, also as ``python -m orl_explorer``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. Its imports take a second; a signal until then ends it at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from orl_explorer.app.cli import main as command_line

    command_line()
    sys.exit(0)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error is closed
        os.write(2, b"Interrupted before the command began. Nothing was changed.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
