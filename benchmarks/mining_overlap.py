"""Show what mining gains by searching photos while an accelerator embeds others, with a stand-in for the accelerator.

    python benchmarks/mining_overlap.py --photos VOCdevkit/VOC2007

The stand-in waits a fixed time for each picture and leaves the processor idle, as a GPU does. Mining with it in parts
is compared with mining stage after stage, in turns. Its features are random, so only the times count. Without
--photos, it uses the demo's scenes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from mining import gather

from orl_explorer.db.models import Run
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.runs import add_run
from orl_explorer.orl.encoder import EncoderNetwork
from orl_explorer.orl.selective_search.readiness import compile_search
from orl_explorer.train.encoders.weights import add
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining import mine as stage
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features
from orl_explorer.train.workspace import open_workspace


def pretend(milliseconds: float) -> None:
    """Let networks wait instead of computing."""

    def wait(_: EncoderNetwork, pixels: np.ndarray) -> np.ndarray:
        time.sleep(milliseconds / 1000 * len(pixels))
        drawn = np.random.default_rng(0).standard_normal((len(pixels), 1280), np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    for forward in ("embed_images", "embed_rois"):
        setattr(EncoderNetwork, forward, wait)
    setattr(Features, "on_accelerator", property(lambda _: True))  # noqa: B010, a property is read-only to mypy


def seconds(photos: Path, part: int) -> float:
    """Mine into a new workspace in parts of so many photos. Returns the seconds."""
    stage.PART = part
    with tempfile.TemporaryDirectory() as place:
        workspace = open_workspace(Path(place))
        ingest(workspace, photos, name="photos")
        encoder = add(workspace, "starter", "starter")
        run = add_run(workspace.store, Run(kind="mine", name="set", params={})).id
        began = time.perf_counter()
        stage.mine(workspace, dataset_named(workspace.store, "photos"), encoder, "set", MineConfig(), run_id=run)
        return time.perf_counter() - began


def main() -> None:
    """Measure both in turns and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos or VOC2007; default: the demo's scenes")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--milliseconds", type=float, default=1.5, help="of the stand-in for each picture")
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    compile_search()
    pretend(given.milliseconds)
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as place:
        photos = gather(given.photos, given.count, Path(place))
        for _ in range(given.repeats):
            found["stage after stage"].append(seconds(photos, given.count))
            found[f"in {given.parts} parts"].append(seconds(photos, given.count // given.parts))
    for name, each in found.items():
        print(f"{name:20} {statistics.median(each):6.1f} s")
    one, other = (statistics.median(each) for each in found.values())
    print(f"times as fast        {one / other:6.2f}")


if __name__ == "__main__":
    main()
