"""Compare the search of neighbours in nearby cells with the exact one: seconds, and the share of neighbours it finds.

    python benchmarks/neighbors.py --photos VOCdevkit/VOC2007 --photos VOC2012 --photos coco/images
    python benchmarks/neighbors.py --synthetic 1000000 --width 256

With photos, the features are those of the starter. Synthetic features have directions around random centres, as many as
the root of their number. Of many photos, the exact neighbours of some are compared, drawn at random.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from mining import gather
from rich import print as show
from rich.table import Table

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.photos import usable_images
from orl_explorer.orl.cells import PROBES, neighbors_in_cells
from orl_explorer.orl.matching import BestFound, compare_with_all, nearest_neighbors
from orl_explorer.train.encoders import weights
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.mining.embed import embed_images
from orl_explorer.train.mining.features import Features, photo_keys
from orl_explorer.train.mining.place import Here
from orl_explorer.train.photos import Photos
from orl_explorer.train.progress import Progress
from orl_explorer.train.workspace import open_workspace

K = 10
ALL = 20_000  # photos up to which the exact neighbours of all are found
SOME = 2000  # photos whose exact neighbours are found of more
SPREAD = 0.7  # of synthetic features around their centre, whose length is 1


def of_photos(folders: list[Path]) -> np.ndarray:
    """Return the starter's features of photos, float32 [n, D]."""
    with tempfile.TemporaryDirectory() as place:
        workspace = open_workspace(Path(place) / "workspace")
        weights.add(workspace, "starter", "starter")
        found = []
        for number, folder in enumerate(folders):
            photos = gather(folder, 100_000, Path(place) / str(number))
            dataset = ingest(workspace, photos, name=f"photos-{number}").dataset
            images = list(usable_images(workspace.store, dataset.id))
            features = Features(workspace, encoder_named(workspace.store, "starter"))
            embed_images(features, images, Photos.of(workspace.store, dataset.id), Progress(), Here())
            found.append(features.images.get(np.unique(photo_keys(images))))
    return np.concatenate(found)


def synthetic(count: int, width: int) -> np.ndarray:
    """Return unit rows around random centres, float32 [n, D]."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(round(count**0.5), width)).astype(np.float32) / width**0.5
    made = centres[rng.integers(0, len(centres), count)]
    made += SPREAD * rng.standard_normal((count, width), np.float32) / width**0.5
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def exact_of(features: np.ndarray, queries: np.ndarray, block: int = 8192) -> np.ndarray:
    """Return the exact neighbours of some rows, int64 [m, K]. queries: int64 [m]."""
    best = BestFound.of(len(features), K)
    compare_with_all(best, features, queries, block)
    return best.rows[queries]


def main() -> None:
    """Search by both ways, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, action="append", help="folder of photos or VOC2007; may be repeated")
    parser.add_argument("--synthetic", type=int, default=50_000, help="number of synthetic features, without photos")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--probes", type=int, nargs="*", default=[1, 4, PROBES, 64])
    given = parser.parse_args()
    features = of_photos(given.photos) if given.photos else synthetic(given.synthetic, given.width)
    count, width = features.shape
    ids, began = np.arange(count), time.perf_counter()
    if count <= ALL:
        queries, exact = ids, nearest_neighbors(features, ids, K).ids
        seconds = time.perf_counter() - began
    else:
        queries = np.sort(np.random.default_rng(1).permutation(count)[:SOME])
        exact = exact_of(features, queries)
        seconds = (time.perf_counter() - began) * count / SOME
    table = Table("search", "seconds", "neighbours found", title=f"{count} photos, {width} numbers each, K = {K}")
    table.add_row("exact", f"{seconds:.1f}" + ("" if count <= ALL else f" (from {SOME} photos)"), "100 %")
    for probes in given.probes:
        began = time.perf_counter()
        found = neighbors_in_cells(features, ids, K, probes=probes).ids[queries]
        seconds = time.perf_counter() - began
        share = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), exact.tolist(), strict=True)])
        table.add_row(f"{probes} cells", f"{seconds:.1f}", f"{share:.1%}")
    show(table)
    show(f"Memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB.")


if __name__ == "__main__":
    main()
