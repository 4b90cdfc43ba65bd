"""Time whole `orl mine` commands of this checkout, by torch and by ONNX Runtime, and of another checkout, in turns.

    git worktree add ../before COMMIT
    python benchmarks/mining_runs.py --photos VOCdevkit/VOC2007 --encoder starter --encoder resnet50 --other ../before

Every command mines the same photos into a new workspace, with nothing computed before: start, selective search,
embedding, matching and writing. The script prints the seconds of each command and of its phases, and how many pairs of
the first variant are the same, with their ranks, in the others. Without --photos, it uses the demo's scenes. ResNet-50
has random weights. Selective search is compiled before.
"""

from __future__ import annotations

import argparse
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from mining import draw_bars, gather
from rich import print as show
from rich.table import Table

from orl_explorer.orl.selective_search.readiness import compile_search

HERE = Path(__file__).parents[1]
PAIRS = """
    select query.path, neighbor_rank, rank, neighbor.path, a.x, a.y, a.w, a.h, b.x, b.y, b.w, b.h
    from pair join roi a on a.id = query_roi_id join roi b on b.id = key_roi_id
    join image query on query.id = a.image_id join image neighbor on neighbor.id = b.image_id
"""
PHASES = {  # and their colours
    "Running selective search": "#9aa5b1",
    "Embedding photos": "#f2b134",
    "Computing attention maps": "#e07b39",
    "Embedding RoIs": "#3b6fb6",
    "the rest": "#5aa469",
}
OLDER = {  # names of phases in earlier versions
    "Proposing regions": "Running selective search",
    "Mapping attention": "Computing attention maps",
    "Embedding regions": "Embedding RoIs",
}


class Variant(NamedTuple):
    """A way to mine: its name, the checkout whose code runs, and more words of the command."""

    name: str
    checkout: Path
    words: tuple[str, ...] = ()


def orl(checkout: Path, *words: str) -> None:
    """Run a command of a checkout. Raises CalledProcessError."""
    package = "orl_explorer" if (checkout / "orl_explorer").is_dir() else "app"  # older checkouts have no package
    subprocess.run(
        [sys.executable, "-m", package, *words],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def mine(variant: Variant, photos: Path, encoder: str, preset: str, workspace: Path) -> dict[str, float]:
    """Mine into a new workspace. Returns the seconds of the command, and of each phase by the times in its log."""
    source = "starter" if encoder == "starter" else f"random:{encoder}"
    at = "--workspace", str(workspace)
    orl(variant.checkout, "ingest", str(photos), "--name", "photos", *at)
    orl(variant.checkout, "encoders", "add", source, "--name", "encoder", *at)
    began = time.perf_counter()
    named = ["--dataset", "photos", "--encoder", "encoder", "--name", "set", "--preset"]
    orl(variant.checkout, "mine", *named, preset, *variant.words, *at)
    seconds = time.perf_counter() - began
    found = dict.fromkeys(PHASES, 0.0) | phases((workspace / "runs" / "1" / "log.txt").read_text())
    return {"whole": seconds} | found | {"the rest": seconds - sum(found[phase] for phase in PHASES)}


def phases(log: str) -> dict[str, float]:
    """Return the seconds of the phases in ``PHASES``. A line *12:00:00  Embedding photos (200).* begins a phase."""
    lines = [(datetime.strptime(line[:8], "%H:%M:%S"), line[10:]) for line in log.splitlines() if line[2:3] == ":"]
    begun = [(at, named[1]) for at, text in lines if (named := re.fullmatch(r"(.+) \(\d+\)\.", text))]
    found: dict[str, float] = defaultdict(float)
    for (at, phase), (then, _) in pairwise([*begun, lines[-1]]):
        found[OLDER.get(phase, phase)] += (then - at).total_seconds() % 86400
    return {phase: found[phase] for phase in PHASES}


def pairs(workspace: Path) -> set[tuple[Any, ...]]:
    """Return the pairs of the only set: photos, ranks and boxes."""
    with closing(sqlite3.connect(f"{(workspace / 'orl.sqlite').as_uri()}?mode=ro", uri=True)) as store:
        return set(store.execute(PAIRS))


def main() -> None:
    """Measure, print a table for each encoder and preset, and draw the picture asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos or VOC2007; default: the demo's scenes")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--encoder", action="append", choices=["starter", "resnet18", "resnet50"])
    parser.add_argument("--preset", action="append", choices=["paper", "object"])
    parser.add_argument("--other", type=Path, help="another checkout, which runs first")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    compile_search()
    variants = [Variant("torch", HERE), Variant("ONNX Runtime", HERE, ("--precision", "fp32-onnx"))]
    if given.other:
        variants.insert(0, Variant(given.other.name, given.other.resolve()))
    bars: dict[str, dict[str, float]] = {}
    for encoder in given.encoder or ["starter"]:
        for preset in given.preset or ["paper"]:
            bars |= compare(variants, given, encoder, preset)
    if given.picture:
        draw_bars(bars, PHASES, "seconds a photo", given.picture)


def compare(
    variants: list[Variant], given: argparse.Namespace, encoder: str, preset: str
) -> dict[str, dict[str, float]]:
    """Run the variants in turns and print their table. Returns the seconds of each phase for a photo."""
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    mined: dict[str, set[tuple[Any, ...]]] = {}
    with tempfile.TemporaryDirectory() as place:
        photos = gather(given.photos, given.count, Path(place))
        for turn in range(given.repeats):
            for number, variant in enumerate(variants):
                workspace = Path(place) / f"{turn}-{number}"
                runs[variant.name].append(mine(variant, photos, encoder, preset, workspace))
                mined[variant.name] = pairs(workspace)
    medians = {
        name: {part: statistics.median(r[part] for r in each) for part in each[0]} for name, each in runs.items()
    }
    first = next(iter(medians))
    table = Table("", *medians, title=f"{encoder}, {preset}: seconds of {given.count} photos")
    for part in next(iter(medians.values())):
        table.add_row(part, *(f"{median[part]:.1f}" for median in medians.values()))
    table.add_row("times as fast", *(f"{medians[first]['whole'] / median['whole']:.2f}" for median in medians.values()))
    table.add_row(
        f"pairs as {first}", *(f"{len(mined[name] & mined[first])} of {len(mined[first])}" for name in medians)
    )
    show(table)
    return {
        f"{encoder}, {preset}: {name}": {part: median[part] / given.count for part in PHASES}
        for name, median in medians.items()
    }


if __name__ == "__main__":
    main()
