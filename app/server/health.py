"""Whether the explorer of a container answers, for the container's health check: exit code 0 or 1.

A container that runs another command, such as a training, is as healthy as the command is alive, and ends with it. The
check reads the addresses of servers from the commands of the processes that it finds, so that it is told no port, path
or certificate.
"""

from __future__ import annotations

import ssl
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

TIMEOUT = 4.0  # seconds
SERVER, SERVERS = "orl_explorer.app.server", "orl_explorer.app.server.processes"  # modules that commands name
HEALTH = "/_stcore/health"  # answered below every base path
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # an address to listen on, and one to ask


def main() -> int:
    """Ask all servers of this container, and print what is wrong."""
    commands = list(running())
    addresses = sorted({address for command in commands for address in addresses_of(command)})
    troubles = [trouble for address in addresses if (trouble := trouble_of(address))]
    if not addresses and any(starts_explorer(command) for command in commands):
        troubles = ["The explorer has not started its server yet."]
    print(*troubles or ["healthy"], sep="\n")
    return 1 if troubles else 0


def running() -> Iterator[list[str]]:
    """Yield the words of the command of each process."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:  # it has ended
            continue


def starts_explorer(command: Sequence[str]) -> bool:
    """Return whether a command is ``orl explore``."""
    return any(Path(before).name in ("orl", "orl_explorer") and word == "explore" for before, word in pairwise(command))


def addresses_of(command: Sequence[str]) -> list[str]:
    """Return the addresses of the health checks of the servers that a command runs."""
    if SERVER not in command:
        return []
    options = dict(word.split("=", 1) for word in command if word.startswith("--server.") and "=" in word)
    if SERVERS in command:  # it may have to start one of them again
        count, first = command[command.index(SERVERS) + 1 :][:2]
        ports = list(range(int(first), int(first) + int(count)))
    else:
        ports = [int(options["--server.port"])]
    given = options.get("--server.address", "127.0.0.1")
    host = EVERYWHERE.get(given, given)
    scheme = "https" if options.get("--server.sslCertFile") else "http"
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{HEALTH}" for port in ports]


def trouble_of(address: str) -> str | None:
    """Return why a server does not answer, or None."""
    certificate = ssl.create_default_context()  # it has the public name, not this address
    certificate.check_hostname, certificate.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=certificate)
    )
    try:
        with opener.open(address, timeout=TIMEOUT):
            return None
    except OSError as error:
        return f"{address}: {error}"


if __name__ == "__main__":
    sys.exit(main())
