"""The ``orl`` command, also as ``python -m orl_explorer``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line. Its imports take a second; a signal until then ends it at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and scripts ask for
            signal.signal(number, _leave)
    try:
        Path.cwd()
    except OSError:  # deleted since the shell entered it; libraries would fail in ways of their own
        print("The current folder is not there any more. Change to another one with cd.", file=sys.stderr)
        sys.exit(2)
    try:
        from orl_explorer.app.cli import main as command_line
    except ImportError as broken:  # a package, or a system library that a package needs, is missing
        _diagnose(broken)
    command_line()
    sys.exit(0)


def _diagnose(broken: ImportError) -> NoReturn:
    """Run ``orl doctor`` alone if it was asked for, else name it. Other commands cannot start."""
    if sys.argv[1:2] == ["doctor"]:
        from orl_explorer.app.doctor.command import report

        parser = argparse.ArgumentParser("orl doctor")  # Typer itself may be what is broken
        parser.add_argument("--workspace", type=Path)
        parser.add_argument("--json", action="store_true")
        given = parser.parse_args(sys.argv[2:])
        sys.exit(report(given.workspace, given.json))
    print(f"Cannot start: {broken}. See what is missing with `orl doctor`.", file=sys.stderr)
    sys.exit(2)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error is closed
        os.write(2, b"Interrupted before the command began. Nothing was changed.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
