"""``orl explore --dev``: restart the server after each change of a Python file of the project."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import orl_explorer

PAUSE = 0.5  # seconds between checks


def serve(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run the server until Ctrl-C. If it ends by an error in a file, wait for the next change."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as with Ctrl-C, together with the server
    while True:
        seen = stamps()
        server = subprocess.Popen(command, env=environment)
        try:
            while stamps() == seen:
                time.sleep(PAUSE)
        finally:
            server.terminate()
            server.wait()


def stamps() -> dict[Path, int]:
    """Return the modification time of each file of the package, in nanoseconds."""
    found = {}
    for room in Path(orl_explorer.__file__).parent.iterdir():
        for path in room.resolve().rglob("*.py"):
            with suppress(FileNotFoundError):  # an editor is replacing it
                found[path] = path.stat().st_mtime_ns
    return found
