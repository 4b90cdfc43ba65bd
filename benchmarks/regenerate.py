"""Measure time and memory of mining a set again from stored features, after a change of K, N or a threshold.

    python benchmarks/regenerate.py --photos 400

The data are synthetic: 100 RoIs per photo with 2048 floats each, drawn from a seeded generator, and K = 10. A second
measurement has four times the photos. The memory of the process should not grow with their number.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from rich import print as show
from rich.table import Table

from orl_explorer.db.encoders import add_encoder, encoder_named
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.photos import FoundPhoto, add_photos, count_photos, dataset_named, ensure_dataset, usable_images
from orl_explorer.db.proposals import add_proposals
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import write
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import Features, photo_keys, roi_keys
from orl_explorer.train.mining.mine import mine
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import open_workspace

NAME = "photos"


class Phases(Progress):
    """The seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase, self._since = "", time.perf_counter()

    def phase(self, name: str, total: int) -> None:
        """End the present phase and start this one."""
        now = time.perf_counter()
        self.seconds[self._phase] = now - self._since
        self._phase, self._since = name, now


def regenerate(folder: str, count: int) -> dict[str, float]:
    """Return milliseconds per photo and peak memory, at K = 10, 100 RoIs per photo and 2048 floats per RoI."""
    workspace = open_workspace(Path(folder))
    store, rng = workspace.store, np.random.default_rng(0)
    dataset = ensure_dataset(store, NAME, f"{folder}/photos", "folder")  # not there: stored features suffice
    digests = rng.integers(1, 2**63 - 1, count).tolist()
    add_photos(store, dataset.id, (FoundPhoto(f"{i:06d}.jpg", 1100, 1100, digest=d) for i, d in enumerate(digests)), {})
    count_photos(store, dataset.id)
    row = add_encoder(
        store,
        Encoder(
            name="synthetic",
            architecture="resnet50",
            kind="imported",
            supervised=False,
            weights_sha256="0",
            weights_path="none",
            image_features=256,
            roi_features=2048,
        ),
    )
    grid = np.array([[x, y, 100, 100] for y in range(0, 1100, 110) for x in range(0, 1100, 110)], np.int16)
    images, config, features = list(usable_images(store, dataset.id)), MineConfig(), Features(workspace, row)
    begun = add_run(store, Run(kind="mine", name="seed", params={})).id
    seed = write.begin_set(store, "seed", dataset.id, row.id, config.model_dump(), begun)
    for start in range(0, count, 64):
        block = images[start : start + 64]
        add_proposals(store, config.method, {i.id: grid for i in block})
        write.add_candidates(
            store, seed.id, [write.CandidateRows(i.id, grid, len(grid), fallback=False) for i in block]
        )
        rois = np.concatenate([roi_keys(i.digest or 0, grid) for i in block])
        features.rois.add([(rois, unit(rng, len(rois), 2048))])
        features.images.add([(photo_keys(block), unit(rng, len(block), 256))])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Phases()
    run = add_run(store, Run(kind="mine", name="set", params={})).id
    mined = mine(
        workspace,
        dataset_named(store, NAME),
        encoder_named(store, "synthetic"),
        "set",
        config,
        run_id=run,
        progress=clock,
    )
    clock.phase("", 0)
    assert mined.pair_count == count * 10 * 10
    total = sum(seconds for phase, seconds in clock.seconds.items() if phase)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    milliseconds = {f"{phase}, ms": 1000 * seconds / count for phase, seconds in clock.seconds.items() if phase}
    return {"ms a photo": 1000 * total / count, "before, MB": before / 1024, "peak, MB": peak / 1024} | milliseconds


def unit(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Return random features of unit length."""
    drawn = rng.standard_normal((count, width), np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def main() -> None:
    """Measure both sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    arguments = parser.parse_args()
    found = {}
    for count in (arguments.photos, 4 * arguments.photos):
        with (
            tempfile.TemporaryDirectory() as place,
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,  # measures its own memory
        ):
            found[count] = pool.submit(regenerate, str(Path(place) / "workspace"), count).result()
    table = Table("", *(f"{count} photos" for count in found), title="K = 10, 100 RoIs a photo, 2048 floats a RoI")
    for measure in next(iter(found.values())):
        table.add_row(measure, *(f"{values[measure]:.3g}" for values in found.values()))
    show(table)


if __name__ == "__main__":
    main()
