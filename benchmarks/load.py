"""Let many people use one explorer at once, and measure what a page costs the server and how long they wait.

    python benchmarks/load.py --workspace workspace --people 20
    python benchmarks/load.py --workspace workspace --other ../before     # a second checkout, in turns
    python benchmarks/load.py --address https://localhost:8443/orl --password-file password

Each person is a client that speaks the protocol of the pages (``visitor.py``) and walks through Explore, Pair, the next
queries, Matches and Tune, with pauses. The script starts ``orl explore``, unless it gets an address, and ends it. Its
requests are bounded by --rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from rich import print as show
from rich.table import Table
from visitor import Visitor, payload, visit

HERE = Path(__file__).resolve().parents[1]
PASSWORD = "a password of the load test"
STEPS = 4  # queries that a person steps through in a round
ATTEMPTS = 5  # logins at once: the gate refuses more from one address
WARM = 8  # people before the measurement
EVERY = 1.0  # seconds between looks at the memory


@dataclass
class Seen:
    """What the people saw, and what it cost.

    took: seconds of each action, by name. repeats: runs that pages asked for by themselves. cpu: seconds of the server.
    memory: bytes of the server, each second.
    """

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    repeats: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    memory: list[int] = field(default_factory=list)

    @property
    def actions(self) -> list[float]:
        """The seconds of all actions."""
        return [seconds for times in self.took.values() for seconds in times]

    def numbers(self) -> dict[str, float]:
        """Return the numbers of a report."""
        p50, p95 = np.percentile(self.actions, [50, 95]) if self.actions else (0.0, 0.0)
        half = len(self.memory) // 2
        return {
            "actions": len(self.actions),
            "repeats": self.repeats,
            "errors": len(self.errors),
            "seconds": self.seconds,
            "cpu_per_action": self.cpu / max(1, len(self.actions)),
            "p50": float(p50),
            "p95": float(p95),
            "memory_half": self.memory[half] / 1e6 if self.memory else 0.0,
            "memory_end": self.memory[-1] / 1e6 if self.memory else 0.0,
        }


async def walk(person: Visitor, at: int, rounds: int, pause: float, pictures: bool) -> None:
    """Use the explorer like a person. at: the number of the person, so that not all look at the same photos."""
    seen: set[str] = set()

    async def look() -> None:
        for url in dict.fromkeys(person.pictures()) if pictures else ():
            if url not in seen:
                seen.add(url)
                (await person.browser.get(f"{person.origin}{url}")).raise_for_status()
        await person.think(pause)

    for turn in range(rounds):
        await person.go("explore", "")
        await look()
        tiles = payload(person.elements["orl_gallery"])["tiles"]
        await person.click("open a pair", "orl_gallery", "open", tiles[(at * 7 + turn) % len(tiles)]["id"])
        await look()
        for _ in range(STEPS):
            await person.click("next query", "orl_pair_view", "step", 1)
            await look()
        await person.go("matches", "matches")
        await look()
        await person.go("tune", "tune")
        await look()
        await person.slide("tune a slider", "Min size, px", 64 + 8 * ((at + turn) % 4))
        await look()


async def crowd(address: str, password: str, arguments: argparse.Namespace) -> Seen:
    """Let all people walk at once."""
    seen, door = Seen(), asyncio.Semaphore(ATTEMPTS)
    inside = asyncio.Barrier(arguments.people)

    async def one(at: int) -> None:
        try:
            async with visit(address, password, door) as person:
                await inside.wait()
                await asyncio.sleep(arguments.pause * at / arguments.people)  # people do not click together
                try:
                    await walk(person, at, arguments.rounds, arguments.pause, arguments.pictures)
                finally:
                    seen.repeats += person.repeats
                    for action, times in person.took.items():
                        seen.took[action].extend(times)
        except Exception as problem:
            seen.errors.append(f"{type(problem).__name__}: {problem}"[:300])
            await inside.abort()

    began = time.perf_counter()
    await asyncio.gather(*(one(at) for at in range(arguments.people)))
    seen.seconds = time.perf_counter() - began
    return seen


def measure(address: str, password: str, server: psutil.Process | None, arguments: argparse.Namespace) -> Seen:
    """Measure a crowd, after a few people who warm up each process of the server."""
    few = argparse.Namespace(**vars(arguments) | {"people": WARM, "rounds": 1, "pause": 0.1})
    warming = asyncio.run(crowd(address, password, few))

    async def watched() -> Seen:
        looks: list[int] = []

        async def look() -> None:
            while server is not None:
                looks.append(sum(one.memory_info().rss for one in family(server)))
                await asyncio.sleep(EVERY)

        looking = asyncio.create_task(look())
        seen = await crowd(address, password, arguments)
        looking.cancel()
        seen.memory = looks
        return seen

    before = used(server)
    seen = asyncio.run(watched())
    seen.errors[:0] = warming.errors
    seen.cpu = used(server) - before
    return seen


def family(server: psutil.Process) -> list[psutil.Process]:
    """Return a process and its descendants."""
    return [server, *server.children(recursive=True)]


def used(server: psutil.Process | None) -> float:
    """Return the seconds of CPU that a process and its descendants have used."""
    if server is None:
        return 0.0
    return sum(sum(one.cpu_times()[:2]) for one in family(server))


@contextmanager
def served(workspace: Path, checkout: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Start ``orl explore`` of a checkout with a password. Yield its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--workspace", str(workspace), "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(checkout), "ORL_PASSWORD": PASSWORD}
    process = subprocess.Popen(
        [sys.executable, "-m", "orl_explorer", "explore", *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        cwd=checkout,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, "the explorer has ended"
                time.sleep(0.1)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def report(title: str, seen: Seen) -> None:
    """Print the times of a crowd."""
    table = Table(title, "times", "p50, ms", "p95, ms")
    for action, times in {**seen.took, "all": seen.actions}.items():
        p50, p95 = np.percentile(times, [50, 95]) * 1000
        table.add_row(action, str(len(times)), f"{p50:.0f}", f"{p95:.0f}")
    show(table)
    numbers = seen.numbers()
    show(
        f"{len(seen.errors)} errors in {seen.seconds:.0f} s; pages repeated a part {seen.repeats} times by themselves."
    )
    for error in sorted(set(seen.errors)):
        show(f"  {error}")
    if seen.memory:
        show(
            f"CPU of the server: {seen.cpu:.1f} s, {numbers['cpu_per_action']:.3f} s an action. Its memory: "
            f"{seen.memory[0] / 1e6:.0f} MB, {numbers['memory_half']:.0f} MB at half time, "
            f"{numbers['memory_end']:.0f} MB at the end."
        )


def main() -> int:
    """Measure, print the times, and return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=os.environ.get("ORL_WORKSPACE", "workspace"))
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2, help="walks of each person, with 9 actions each")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between actions of a person")
    parser.add_argument("--pictures", action="store_true", help="load the small pictures of each page, too")
    parser.add_argument("--other", type=Path, help="another checkout, measured in turns with this one")
    parser.add_argument("--turns", type=int, default=1, help="measurements of each checkout")
    parser.add_argument("--address", help="of an explorer that runs, with its base path")
    parser.add_argument("--password-file", type=Path, help="the password of that explorer")
    parser.add_argument("--pid", type=int, help="the process of that explorer, if it is on this machine")
    parser.add_argument("--json", action="store_true", help="print the numbers for programs")
    arguments = parser.parse_args()
    results: list[tuple[str, Seen]] = []
    if arguments.address:
        password = arguments.password_file.read_text().removesuffix("\n") if arguments.password_file else ""
        server = psutil.Process(arguments.pid) if arguments.pid else None
        results.append((arguments.address, measure(arguments.address.rstrip("/"), password, server, arguments)))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "workspace"  # a copy: the other checkout may not know this one's store
            shutil.copytree(arguments.workspace, folder, ignore=shutil.ignore_patterns("runs"))
            checkouts = [path.resolve() for path in (arguments.other, HERE) if path is not None]
            for checkout in checkouts * arguments.turns:
                with served(folder, checkout) as (address, server):
                    results.append((str(checkout), measure(address, PASSWORD, server, arguments)))
    for title, seen in results:
        if arguments.json:
            print(json.dumps({"title": title, **seen.numbers(), "said": sorted(set(seen.errors))}))
        else:
            report(title, seen)
    return 1 if any(seen.errors or not seen.actions for _, seen in results) else 0


if __name__ == "__main__":
    sys.exit(main())
