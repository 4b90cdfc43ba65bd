"""Mine thousands of photos, watch memory and speed over time, and extrapolate to COCO's sizes.

    python benchmarks/mining_scale.py --photos VOCdevkit/VOC2007 --count 2000

If there are fewer photos than asked for, they are taken again under new names, with some bytes after the end of the
file: to mining they are new. The script prints, for each quarter of the two long phases, items per second and the
largest memory of the run with its helpers, then the seconds that the same rates take for the photos of COCO train2017
and of COCO+ (train2017 and unlabeled2017). Nearest neighbours cost the square of the number of photos; they are
measured by themselves on random features. Without --photos, it uses the demo's scenes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from mining import gather
from rich import print as show
from rich.table import Table

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.runs.runs import runs
from orl_explorer.orl.matching import nearest_neighbors
from orl_explorer.orl.selective_search.readiness import compile_search
from orl_explorer.train.workspace import Workspace, open_workspace

LONG = {"Running selective search": "searched photos", "Embedding RoIs": "embedded RoIs"}
COCO = {"train2017": 118_287, "COCO+": 241_690}  # photos
DRAWN = 20_000  # random features, to measure the search for neighbours


class Seen(NamedTuple):
    """A look at a run: seconds since its start, phase, finished and all items of the phase, and memory in MB."""

    at: float
    phase: str
    done: int
    total: int
    memory: float


def multiply(folder: Path, count: int, target: Path) -> Path:
    """Copy photos until there are ``count``, each copy with other bytes after its end."""
    target.mkdir()
    files = sorted(file for file in folder.rglob("*.jpg"))
    for number in range(count):
        content = files[number % len(files)].read_bytes()
        (target / f"{number:06d}.jpg").write_bytes(content + number.to_bytes(4, "big"))
    return target


def watch(workspace: Workspace, words: list[str]) -> list[Seen]:
    """Run a command and look at its run four times a second. Raises CalledProcessError."""
    began, looks = time.perf_counter(), []
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(0.25)
            newest = next(iter(runs(workspace.store)), None)
            if newest is not None and newest.pid:
                memory = _memory(newest.pid) / 2**20
                at = time.perf_counter() - began
                looks.append(Seen(at, newest.phase or "", newest.progress or 0, newest.total or 0, memory))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return looks


def _memory(pid: int) -> int:
    """Return the bytes of a process and its children, with shared pages counted once (unique set size)."""
    found = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            found += each.memory_full_info().uss
    except psutil.Error:
        pass
    return found


def quarters(looks: list[Seen], phase: str) -> list[tuple[float, float]]:
    """Return items per second and largest memory, MB, of each quarter of a phase's items."""
    inside = [look for look in looks if look.phase == phase and look.total]
    edges = [next(k for k, look in enumerate(inside) if look.done >= q * inside[-1].total / 4) for q in range(4)]
    parts = [inside[a : b + 1] for a, b in pairwise([*edges, len(inside) - 1])]
    return [
        ((p[-1].done - p[0].done) / max(p[-1].at - p[0].at, 1e-9), max((look.memory for look in p), default=0.0))
        for p in parts
    ]


def seconds_of_neighbors(width: int, k: int) -> float:
    """Return the seconds that ``DRAWN`` random features take."""
    drawn = np.random.default_rng(0).standard_normal((DRAWN, width), np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    began = time.perf_counter()
    nearest_neighbors(drawn, np.arange(DRAWN), k)
    return time.perf_counter() - began


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos or VOC2007; default: the demo's scenes")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--encoder", default="starter", help="as for `orl encoders add`")
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    compile_search()
    with tempfile.TemporaryDirectory() as place:
        some = gather(given.photos, given.count, Path(place))
        photos = multiply(some, given.count, Path(place) / "many")
        where = Path(place) / "workspace"
        orl = [sys.executable, "-m", "orl_explorer"]
        workspace = open_workspace(where)
        at = "--workspace", str(where)
        for words in (
            ("ingest", str(photos), "--name", "photos"),
            ("encoders", "add", given.encoder, "--name", "encoder"),
        ):
            subprocess.run([*orl, *words, *at], check=True, stdout=subprocess.DEVNULL)
        began = time.perf_counter()
        named = "--dataset", "photos", "--encoder", "encoder", "--name", "set", "--precision", given.precision
        looks = watch(workspace, [*orl, "mine", *named, *at])
        each = (time.perf_counter() - began) / given.count
        size = sum(file.stat().st_size for file in where.rglob("*") if file.is_file()) / given.count
        width = encoder_named(workspace.store, "encoder").image_features
    table = Table("quarter", *(title for done in LONG.values() for title in (f"{done} / s", "MB")))
    for number, rows in enumerate(zip(*(quarters(looks, phase) for phase in LONG), strict=True), 1):
        table.add_row(str(number), *(f"{value:.4g}" for row in rows for value in row))
    show(table)
    print(f"{given.count} photos, {os.cpu_count()} cores: {each:.3f} s and {size / 1e3:.0f} kB a photo")
    squared = seconds_of_neighbors(width, 10) / DRAWN**2
    for name, count in COCO.items():
        neighbors = squared * count**2
        print(
            f"{name}, {count} photos: {(each * count + neighbors) / 3600:.1f} h, of which the search for neighbours "
            f"{neighbors / 3600:.2f} h, and {size * count / 1e9:.0f} GB"
        )


if __name__ == "__main__":
    main()
