"""What the README says a user pays: seconds and disk for each photo, from a folder to a correspondence set.

    python benchmarks/costs.py --photos VOCdevkit/VOC2007 --count 200

Ingests a sample of the photos, mines it with the starter encoder at full and at half scale of selective search, trains
one small epoch of stage 3, and weighs the workspace after each step. Selective search is compiled before. Without
--photos, it uses the demo's scenes.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orl_explorer as orl
from orl_explorer.orl.formats import SUFFIXES
from orl_explorer.orl.selective_search.readiness import compile_search
from orl_explorer.train.demo.build import compose


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a photo costs.")
    parser.add_argument("--photos", type=Path, help="folder of photos; default: the demo's scenes")
    parser.add_argument("--count", type=int, default=200, help="photos to take of it")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    compile_search()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.photos or compose(Path(folder) / "scenes", arguments.count)
        found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
        chosen = random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
        print(f"{len(chosen)} photos, {os.cpu_count()} cores, {platform.machine()}, {platform.python_version()}")
        photos = Path(folder) / "photos"
        photos.mkdir()
        for number, path in enumerate(chosen):
            (photos / f"{number:05d}{path.suffix}").symlink_to(path.resolve())
        measure(Path(folder) / "workspace", photos, len(chosen))


def measure(where: Path, photos: Path, count: int) -> None:
    """Go through the stages, and print a row for each."""
    print(f"{'':44} {'s a photo':>10} {'MB':>8} {'kB a photo':>11}")
    with orl.open_workspace(where, bars=False) as workspace:

        def step(title: str, work: Callable[[], object]) -> None:
            before, began = size(where), time.perf_counter()
            work()
            seconds, grown = time.perf_counter() - began, size(where) - before
            print(f"{title:44} {seconds / count:10.3f} {grown / 1e6:8.1f} {grown / count / 1e3:11.1f}", flush=True)

        step("ingest", lambda: workspace.ingest(photos, "photos"))
        workspace.add_encoder("starter")
        step("mine, preset paper", lambda: workspace.mine("photos", "starter", "paper"))
        step("mine again, neighbors=5", lambda: workspace.mine("photos", "starter", "five", neighbors=5))
        step("mine, proposal_scale=0.5", lambda: workspace.mine("photos", "starter", "half", proposal_scale=0.5))
        step("train, preset small, one epoch", lambda: workspace.train("paper", preset="small", epochs=1))


def size(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
