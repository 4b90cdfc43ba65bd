"""Several servers of one workspace, each a process with a port of its own, and the process that watches them.

Streamlit keeps what a page knows in the memory of one process. A proxy before them sends each browser always to the
same one: see docs/serve.md. Run by ``orl explore --processes``, with the number of servers, the port of the first, and
the command of a server without its port.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

PROCESS = "ORL_PROCESS"  # environment variable of a server that is not alone: its number, from 1
LOOK = 0.2  # seconds between looks at the servers
SOON = 10.0  # seconds within which an end counts as a failed start
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the next start, after one failed start, two, …
PATIENCE = 15.0  # seconds that servers get to end
STOPPED = "\nThe explorer has stopped. Runs continue; see `orl runs`."


def is_alone() -> bool:
    """Return whether this server is the only one of its explorer."""
    return PROCESS not in os.environ


def is_first() -> bool:
    """Return whether this server does what only one of several has to do, such as looking after runs."""
    return os.environ.get(PROCESS, "1") == "1"


class Server:
    """A server that is started again whenever it ends, after a pause if it could not start."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._name, self._command, self._environment = name, command, environment
        self._failed, self._next = 0, 0.0  # starts in a row, and when the next one is due
        self._start()

    def _start(self) -> None:
        # Its input ends when this process is gone, however it ended; then the server ends too. In a session of its own,
        # Ctrl-C in the terminal does not reach it before this process.
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, start_new_session=True
        )
        self._began, self._next = time.monotonic(), 0.0

    def look(self) -> None:
        """Start the server again if it has ended."""
        code, now = self.process.poll(), time.monotonic()
        if code is None:
            return
        if not self._next:
            self._failed = self._failed + 1 if now - self._began < SOON else 0
            pause = PAUSES[min(self._failed, len(PAUSES)) - 1] if self._failed else 0.0
            self._next = now + pause
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            _say(f"The server {self._name} has ended ({how}). It starts again in {pause:.0f} s.")
        if now >= self._next:
            self._start()


def watch_servers(commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]) -> None:
    """Run servers, by name, until a signal ends this process. They end before it."""
    servers: list[Server] = []
    try:
        for at, (name, command) in enumerate(commands.items(), 1):
            servers.append(Server(name, command, {**environment, PROCESS: str(at)}))
        while True:
            time.sleep(LOOK)
            for server in servers:
                server.look()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        _end([server.process for server in servers])


def _end(servers: Sequence[subprocess.Popen]) -> None:
    for process in servers:
        process.terminate()
    until = time.monotonic() + PATIENCE
    for process in servers:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> NoReturn:
    """Run the servers that the arguments describe."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    count, first, *command = sys.argv[1:]
    ports = range(int(first), int(first) + int(count))
    with ExitStack() as stack:
        environment = {**os.environ}
        if environment.get("ORL_READ_ONLY") == "1":  # the workspace cannot hold what the servers share
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="orl-sessions-"))
            environment["ORL_SESSIONS"] = folder
            (Path(folder) / ".session-secret").write_bytes(secrets.token_bytes(32))
        watch_servers({f"on port {port}": [*command, f"--server.port={port}"] for port in ports}, environment)
    sys.exit(0)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    _say(STOPPED)
    sys.exit(128 + number)


def _say(sentence: str) -> None:
    try:
        print(sentence, file=sys.stderr, flush=True)
    except OSError:  # standard error is closed
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123


if __name__ == "__main__":
    main()
