"""Measure memory and time of exporting and importing the reference's files.

Builds a store of seeded random numbers with the functions of ingest and mining. Then each step runs in its own process;
the first step only imports the code. Needs Linux, which reports the peak memory of each process.

    python benchmarks/interchange_memory.py --images 6000    # about 200 MB of JSON, a minute
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from orl_explorer.db.encoders import add_encoder, encoder_named
from orl_explorer.db.models import Encoder, Run
from orl_explorer.db.photos import FoundPhoto, add_photos, count_photos, dataset_named, ensure_dataset
from orl_explorer.db.proposals import add_proposals
from orl_explorer.db.runs.runs import add_run
from orl_explorer.db.sets import write
from orl_explorer.db.sets.read import rois_of
from orl_explorer.db.sets.write import CandidateRows, MinedImage, MinedPairs
from orl_explorer.train.interchange import imports
from orl_explorer.train.interchange.exports import export
from orl_explorer.train.jobs import launcher
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.workspace import Workspace, open_workspace

RAW, ROIS, PAIRS = 1600, 30, 3  # per photo, per photo, and per neighbour
CONFIG = MineConfig()
BLOCK = 500


def build(workspace: Workspace, images: int) -> None:
    """Write a complete set 'set' of the dataset 'd', whose photos of 640 x 480 have no files."""
    store, rng = workspace.store, np.random.default_rng(0)
    dataset = ensure_dataset(store, "d", "/nowhere", "folder")
    add_photos(store, dataset.id, (FoundPhoto(f"{n:012}.jpg", 640, 480) for n in range(1, images + 1)), {})
    count_photos(store, dataset.id)
    row = Encoder(name="e", architecture="resnet18", kind="imported", supervised=False, weights_sha256="0")
    row.weights_path, row.image_features, row.roi_features = "e.pt", 4, 4
    add_encoder(store, row)
    run = add_run(store, Run(kind="mine", name="set", params={}))
    set_id = write.begin_set(store, "set", dataset.id, 1, CONFIG.model_dump(), run.id).id
    ids = np.arange(1, images + 1)
    neighbors = rng.integers(1, images + 1, (images, CONFIG.neighbors))
    blocks = [ids[start : start + BLOCK].tolist() for start in range(0, images, BLOCK)]
    for block in blocks:
        raw = {i: np.concatenate([rng.integers(0, 300, (RAW, 2)), rng.integers(96, 180, (RAW, 2))], 1) for i in block}
        add_proposals(store, CONFIG.method, raw)
        write.add_candidates(store, set_id, [CandidateRows(i, boxes[:ROIS], RAW, False) for i, boxes in raw.items()])
    write.add_neighbors(store, set_id, ids, neighbors, np.full(neighbors.shape, 0.5, np.float32))
    same = np.full(PAIRS, 0.5, np.float32)
    for block in blocks:
        near = neighbors[np.array(block) - 1]
        rois = rois_of(store, set_id, [*block, *near.ravel().tolist()])
        batch = []
        for image, nearest in zip(block, near.tolist(), strict=True):
            own = [[rois[i].ids[rng.integers(0, ROIS, PAIRS)] for i in (image, neighbor)] for neighbor in nearest]
            found = [MinedPairs(rank, q, k, same, same, same > 0) for rank, (q, k) in enumerate(own, 1)]
            batch.append(MinedImage(image, tuple(found)))
        write.add_pairs(store, set_id, batch)
    write.publish_set(store, set_id)


def bring_proposals(workspace: Workspace, folder: Path) -> None:
    """Import the exported proposals, in the order of the exported COCO json."""
    file = folder / "reference" / "set_selective_search_proposal.json"
    imports.import_proposals(
        workspace, file, dataset_named(workspace.store, "d"), "theirs", images=folder / "coco.json"
    )


def bring_correspondences(workspace: Workspace, folder: Path) -> None:
    """Read the exported correspondences, without the run that embeds the RoIs."""
    launcher._start = lambda _, run: run  # type: ignore[assignment]
    file = folder / "reference" / "set_instance_correspondence.json"
    rows = dataset_named(workspace.store, "d"), encoder_named(workspace.store, "e")
    imports.import_correspondences(workspace, file, *rows, "back", proposals="theirs")


STEPS: dict[str, Callable[[Workspace, Path], object]] = {
    "nothing": lambda workspace, folder: None,
    "export reference": lambda workspace, folder: export(workspace, "set", "reference", folder / "reference"),
    "export parquet": lambda workspace, folder: export(workspace, "set", "parquet", folder / "pairs.parquet"),
    "export csv": lambda workspace, folder: export(workspace, "set", "csv", folder / "pairs.csv"),
    "export coco": lambda workspace, folder: export(workspace, "set", "coco", folder / "coco.json"),
    "import proposals": bring_proposals,
    "import correspondences": bring_correspondences,
}


def _peak() -> float:
    """Return the peak memory of this process in MB. ``getrusage`` would include its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def main() -> None:
    """Build the store, then run each step in its own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        began = time.perf_counter()
        STEPS[options.step](open_workspace(options.folder / "workspace"), options.folder)
        print(f"{options.step:24}{time.perf_counter() - began:8.1f} s{_peak():8.0f} MB at most", flush=True)
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        build(open_workspace(folder / "workspace"), options.images)
        for step in STEPS:
            subprocess.run([sys.executable, __file__, "--step", step, "--folder", name], check=True)
        for file in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".csv", ".parquet")):
            print(f"{file.name:48}{file.stat().st_size / 1e6:8.0f} MB")


if __name__ == "__main__":
    main()
