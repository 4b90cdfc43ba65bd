"""``orl explore --dev``: the server, anew after every change of a Python file of the project."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import orl_explorer

PAUSE = 0.5  # seconds between looks


def serve(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run it until Ctrl-C. One that ends by itself, by a mistake in a file, waits for the next change."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, with the server
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
    """When each file of the package was changed, in nanoseconds."""
    found = {}
    for room in Path(orl_explorer.__file__).parent.iterdir():
        for path in room.resolve().rglob("*.py"):
            with suppress(FileNotFoundError):  # an editor is at it
                found[path] = path.stat().st_mtime_ns
    return found
