"""The ``orl`` command in the process of the tests, as a user sees it: two seconds of imports fewer for each call."""

from __future__ import annotations

import io
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from orl_explorer.app.cli import app
from orl_explorer.app.cli.common import out
from orl_explorer.app.cli.ending import exit_code_of

WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def orl(*words: str | Path) -> Done:
    """Run a command in a terminal of 200 columns. An exception that a user would see as a traceback is raised."""
    arguments = [str(word) for word in words]
    printed, said = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with patch.dict(os.environ, WIDE), patch.object(out, "_width", 200), patch("sys.argv", ["orl", *arguments]):
        try:
            with redirect_stdout(printed), redirect_stderr(said):
                code = exit_code_of(app, arguments)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    texts = (stream.buffer.getvalue().decode() for stream in (printed, said))
    return Done(code, *texts)


def refused(*words: str | Path) -> str:
    """Return the message of a command that must fail with exit code 2."""
    done = orl(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join(done.stderr.split())
