"""How the command line ends: after a mistake, a signal, or when nobody reads its output. Never with a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from orl_explorer.app.cli.terminal import Terminal
from orl_explorer.db.store import StoreError
from orl_explorer.train.disks import NetworkDisk
from orl_explorer.train.errors import UserError
from orl_explorer.train.files import DISK_TROUBLE, cannot_write
from orl_explorer.train.words import is_utf8

MISTAKE = 2  # exit code after a mistake of the user
NOBODY_READS = 1  # exit code if standard output was closed early, as Typer's own
INTERRUPTED = 130  # Typer's exit code after a KeyboardInterrupt
STOPPED = 128  # a command gives this if it was interrupted and has said what it kept

# What is kept of an interrupted command, and how to continue. Runs say it themselves, see common.follow_run.
KEPT = {
    "ingest": "Photos that are in the store are kept. Run the command again to continue.",
    "workspace": "Nothing was copied. Run the command again.",
    "demo": "Finished parts are kept. Run `orl demo` again to continue.",
    "sweep": "Stored boxes and features are kept. Run the command again.",
    "sweep-train": "Finished runs are kept. Run the command again to continue.",
    "reproduce": "Finished runs are kept. Run the command again to continue.",
    "export": "No file was written. Run the command again.",
    "export-encoder": "No file was written. Run the command again.",
    "pretrain": "See `orl runs`.",
    "mine": "See `orl runs`.",
    "train": "See `orl runs`.",
    "adapt": "See `orl runs`.",
    "evaluate": "See `orl runs`.",
    "map": "See `orl runs`.",
    "worker": "See `orl runs`.",
}
ELSE = "Run the command again."


def exit_code_of(command: Callable[[], object], arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code: 2 after a mistake, 128 + the number of a signal."""
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # names of files may hold what the terminal cannot show
            _any(stream).reconfigure(errors="backslashreplace")
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _tell(warnings.showwarning)
            command()
        code = 0
    except (UserError, StoreError) as mistake:
        _say(str(mistake), style="red")
        code = MISTAKE
    except UnicodeEncodeError:
        odd = [word for word in arguments if not is_utf8(word)]
        if not odd:
            raise
        _say(f"An argument is not UTF-8: {odd[0]}. Use UTF-8, and a locale such as C.UTF-8.", style="red")
        code = MISTAKE
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        _say(cannot_write(error.filename, error) if error.filename else _unwritten(error), style="red")
        code = MISTAKE
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED and received:
        _say(f"Interrupted. {KEPT.get(next(iter(arguments), ''), ELSE)}")
    if code in (INTERRUPTED, STOPPED) and received:
        code = 128 + received[0]
    return code if _flushed() else NOBODY_READS


def _tell(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning: one of a network disk as a sentence, any other one as before."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, NetworkDisk):
            _say(f"Warning: {message}", style="yellow")
        else:
            otherwise(message, category, *rest, **more)

    return show


def _any(stream: Any) -> Any:
    return stream


def _say(sentence: str, style: str = "") -> None:
    with contextlib.suppress(OSError):  # standard error is closed
        Terminal(stderr=True).print(sentence, style=style, soft_wrap=True)


def _unwritten(error: OSError) -> str:
    return f"Cannot write the output: {(error.strerror or type(error).__name__).lower()}."


def _flushed() -> bool:
    """Write what is left of the output. Return whether somebody reads it; else Python would complain at its end."""
    if sys.stdout is None:
        return True
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            _say(_unwritten(error), style="red")
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
