"""Make a workspace of an earlier version for the tests. Run this at that version's commit, with its modules.

    git worktree add ../earlier d9b44d6 && cd ../earlier && PYTHONPATH=. python …/tests/legacy/make.py …/tests/legacy

Writes ``workspace-0008.tar.xz``: photos, the store (revision 0008), features, orders, maps, and folders of runs. The
starter's weights are left out, since an installed package has them.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from db.correspondences import complete_set_named, pair_rows
from db.marks import tag_photos
from db.models import Run
from db.runs import add_run, update_run
from db.store import HEAD
from db.verdicts import judge_pair
from train import runs as launching
from train import weights
from train.config import MineConfig
from train.ingest import ingest
from train.maps import make_map, photos_map, rois_map
from train.matches import make_matches
from train.methods import BYOLConfig
from train.mine import mine
from train.progress import Progress, Stopped
from train.workspace import open_workspace

PHOTOS = 12
CONFIG = MineConfig(neighbors=3, min_size=32, max_rois=4, pair_ratio=0.5)


class StopAfter(Progress):
    """Stops a stage at its n-th advance."""

    def __init__(self, advances: int) -> None:
        self.left = advances

    def advance(self, count: int = 1) -> None:
        self.left -= 1
        if not self.left:
            raise Stopped


def photo(seed: int) -> Image.Image:
    """Coloured squares and a disc on a gradient, 160 x 120."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:120, 0:160]
    pixels = np.stack([x, y, (x + y) // 2], axis=2) * 0.5 + rng.integers(0, 80, 3)
    for _ in range(3):
        left, top = rng.integers(0, 110), rng.integers(0, 70)
        pixels[top : top + 45, left : left + 45] = rng.integers(0, 256, 3)
    pixels[(x - rng.integers(40, 120)) ** 2 + (y - rng.integers(40, 80)) ** 2 < 500] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def main(out: Path) -> None:
    """Build everything in a new folder and pack it."""
    with tempfile.TemporaryDirectory() as folder:
        photos, place = Path(folder) / "photos", Path(folder) / "workspace"
        photos.mkdir()
        for number in range(PHOTOS):
            path = photos / f"{number:02d}.jpg"
            photo(number).save(path, quality=92)
            os.utime(path, (1_700_000_000 + number,) * 2)  # whole seconds, which an archive keeps
        made = open_workspace(place)
        ingest(made, photos, name="demo")
        weights.add(made, "starter", "starter")
        launching.wait(made, launching.launch_mine(made, "demo", "starter", "first", CONFIG, workers=1).id)
        found = complete_set_named(made.store, "first")
        make_matches(made, found)
        make_map(made, photos_map(made, "demo", "starter"))
        make_map(made, rois_map(made, "first"))
        tag_photos(made.store, [1, 2], "night", "ada")
        pair = next(rows[0] for rows in pair_rows(made.store, found.id, [1]).values())
        judge_pair(made.store, pair.query_roi_id, pair.key_roi_id, "good", "ada")

        # A mining that was stopped while it matched, and a training that was stopped before its first checkpoint.
        params = {"dataset": "demo", "encoder": "starter", "workers": 1} | {"config": CONFIG.model_dump()}
        run = add_run(made.store, Run(kind="mine", name="second", dataset_id=1, encoder_id=1, params=params))
        try:
            mine(made, "demo", "starter", "second", CONFIG, run_id=run.id, workers=1, progress=StopAfter(2))
        except Stopped:
            update_run(made.store, run.id, status="cancelled")
        values = {"epochs": 1, "batch_size": 6, "image_size": 32, "warmup_epochs": 0, "hidden": 8, "projection": 8}
        config = BYOLConfig(backbone="resnet18", workers=0, **values)
        stopped = launching.launch_pretrain(made, "demo", config, "byol")
        launching.kill(made, stopped.id)

        made.store.close()
        (place / "encoders" / "starter.pt").unlink()
        with tarfile.open(out / f"workspace-{HEAD}.tar.xz", "w:xz") as archive:
            archive.add(folder, ".")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
