"""Compare mining on this machine with mining on a Ray cluster of two network namespaces of it, in turns.

    sudo python benchmarks/cluster.py --photos VOCdevkit/VOC2007 --count 120

The namespaces are joined by a virtual cable and have half of the cores each, so that both ways have the same cores. The
script prints the seconds of whole `orl mine` commands and of their phases, the bytes on the cable, the largest memory
of the run's process, and whether both found the same pairs. It needs root, `ip` and ray. Selective search is compiled
before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mining import gather
from mining_runs import HERE, PHASES, pairs, phases
from rich import print as show
from rich.table import Table

from orl_explorer.orl.selective_search.readiness import compile_search

HEAD, OTHER = ("orl-head", "10.77.0.1"), ("orl-other", "10.77.0.2")  # namespaces and their addresses
PORT, DASHBOARD = 6479, 8479
MOVED = "megabytes on the cable"
MEMORY = "megabytes of the run"


def run(*words: str) -> None:
    """Run a command. Raises CalledProcessError."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Make two network namespaces with a cable between them, and remove them at the end."""
    try:
        for name, _ in (HEAD, OTHER):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "cable", "netns", HEAD[0], "type", "veth", "peer", "name", "cable", "netns", OTHER[0])
        for name, address in (HEAD, OTHER):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "cable")
            run("ip", "-n", name, "link", "set", "cable", "up")
        yield
    finally:
        for name, _ in (HEAD, OTHER):
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def cluster(place: Path) -> Iterator[None]:
    """Start a node in each namespace, with half of the cores, and end them at the end."""
    cores = max(1, (os.cpu_count() or 2) // 2)
    common = ["--num-cpus", str(cores), "--object-store-memory", str(200 * 1024**2), "--block", "--disable-usage-stats"]
    head = ["--head", f"--port={PORT}", f"--dashboard-port={DASHBOARD}", f"--temp-dir={place}"]
    others = [f"--address={HEAD[1]}:{PORT}"]
    nodes = []
    try:
        for (name, address), own in ((HEAD, head), (OTHER, others)):
            ray = [str(Path(sys.executable).with_name("ray")), "start", f"--node-ip-address={address}"]
            command = ["ip", "netns", "exec", name, *ray, *own, *common]
            nodes.append(subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL))
            time.sleep(12)
        yield
    finally:
        for node in reversed(nodes):
            node.terminate()
            node.wait()


def environment() -> dict[str, str]:
    """Return the variables of a process of this checkout."""
    equal = {"RAY_worker_niceness": "0"}  # Ray's 15 would leave the cores to whatever else runs
    return os.environ | {"PYTHONPATH": str(HERE)} | equal


def on_cable() -> float:
    """Return the bytes that have passed the cable in both directions."""
    told = subprocess.run(
        ["ip", "-n", HEAD[0], "-s", "link", "show", "cable"], capture_output=True, text=True, check=True
    )
    return sum(map(float, re.findall(r"[RT]X: *bytes.*\n *(\d+)", told.stdout)))


def mine(photos: Path, encoder: str, workspace: Path, on: str) -> dict[str, float]:
    """Mine into a new workspace, in the first namespace. Returns the seconds of the command and of its phases."""
    source = "starter" if encoder == "starter" else f"random:{encoder}"
    at = "--workspace", str(workspace)
    orl = ["ip", "netns", "exec", HEAD[0], sys.executable, "-m", "orl_explorer"]
    for words in (["ingest", str(photos), "--name", "photos"], ["encoders", "add", source, "--name", "encoder"]):
        subprocess.run([*orl, *words, *at], env=environment(), check=True, stdout=subprocess.DEVNULL)
    moved, began = on_cable(), time.perf_counter()
    words = ["mine", "--dataset", "photos", "--encoder", "encoder", "--name", "set", "--on", on]
    command = subprocess.Popen([*orl, *words, *at], env=environment(), stdout=subprocess.DEVNULL)
    largest = 0.0
    while command.poll() is None:
        largest = max(largest, memory(workspace))
        time.sleep(0.2)
    seconds = time.perf_counter() - began
    if command.returncode:
        raise SystemExit((workspace / "runs" / "1" / "log.txt").read_text())
    found = phases((workspace / "runs" / "1" / "log.txt").read_text())
    rest = {"the rest": seconds - sum(found[phase] for phase in PHASES)}
    return {"whole": seconds} | found | rest | {MOVED: (on_cable() - moved) / 1e6, MEMORY: largest / 1e6}


def memory(workspace: Path) -> float:
    """Return the resident bytes of the process of the run in a workspace."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            words = (process / "cmdline").read_text().split("\0")
            if "orl_explorer.train.jobs.worker" in words and str(workspace) in words:
                return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0.0


def main() -> None:
    """Mine in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos or VOC2007; default: the demo's scenes")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--encoder", choices=["starter", "resnet18", "resnet50"], default="starter")
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    compile_search()
    ways = {"local": "local", "Ray": f"ray://127.0.0.1:{DASHBOARD}"}
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="orl-", ignore_cleanup_errors=True) as place, namespaces():
        photos = gather(given.photos, given.count, Path(place))
        for turn in range(given.repeats):
            found = {}
            for way, on in ways.items():
                workspace = Path(place) / f"{turn}-{way}"
                with cluster(Path(place) / "ray") if on != "local" else contextlib.nullcontext():
                    runs[way].append(mine(photos, given.encoder, workspace, on))
                found[way] = pairs(workspace)
            show(f"Turn {turn + 1}: {'the same' if found['local'] == found['Ray'] else 'OTHER'} pairs")
    table = Table("", *ways, title=f"{given.encoder}: seconds of {given.count} photos")
    for part in runs["local"][0]:
        table.add_row(part, *(f"{statistics.median(one[part] for one in runs[way]):.1f}" for way in ways))
    show(table)


if __name__ == "__main__":
    main()
