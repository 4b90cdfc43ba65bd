"""Compare the sources of raw boxes against annotations: selective search, the encoder's own map, and both.

    python research/sources_compared.py --workspace DIR --dataset voc07 --encoder starter --only val.txt

Nothing has to be mined before, and nothing is stored. RoIs are those of a preset's filter; the lines without a preset
measure raw boxes as they are. Prints a Markdown table. The time is the processor's, of all cores together: of selective
search, the passes over the whole photo, and the filter, as far as a line needs them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from orl_explorer.db.encoders import encoder_named
from orl_explorer.db.models import Image
from orl_explorer.db.photos import dataset_named, usable_images
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.orl.measure.quality import Mined, with_labels
from orl_explorer.orl.pixels import read_image
from orl_explorer.orl.selective_search.readiness import compile_search
from orl_explorer.train.mining.candidates import candidates, searches, with_map
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.mining.features import Features
from orl_explorer.train.mining.propose import propose_photo
from orl_explorer.train.mining.quality import as_objects
from orl_explorer.train.mining.sample import photos_named
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import open_workspace

SOURCES = ("search", "map", "search+map")
MEASURES = {"CorLoc": "corloc", "recall": "recall", "AR@10": "ar_10", "AR@100": "ar_100", "mBO": "mbo"}
T = TypeVar("T")


class Clock:
    """Milliseconds of processor time of each kind of work."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def of(self, work: str, do: Callable[[], T]) -> T:
        """Do some work and count its time."""
        begun = time.process_time()
        made = do()
        self.spent[work] = self.spent.get(work, 0.0) + 1000 * (time.process_time() - begun)
        return made


def boxes_of(image: Image, photos: Photos, features: Features, clock: Clock) -> dict[str, np.ndarray]:
    """Return the boxes of a photo by the name of a line, int16 [B, 4], in the order of their rank."""
    photo, (job,) = read_image(photos.path(image)), searches([image], photos, MineConfig())
    whole, network = features.reading.whole(photo)[None], features.encoder
    searched = clock.of("search", lambda: propose_photo(job))
    assert not isinstance(searched, str), searched
    attention = clock.of("attention", lambda: network.attention(whole)[0])
    row = clock.of("map", lambda: network.map_boxes(whole)[0])
    nothing = searched[:0]
    on_map = with_map(nothing, row, image)
    raw = {"search": searched, "map": on_map, "search+map": with_map(searched, row, image)}
    found = {"first box of map": on_map[:1], "raw boxes of map": on_map}
    for preset, config in MINE_PRESETS.items():
        seen = attention if config.needs_objectness else None
        for source in SOURCES:
            line = f"{preset}, {source}"
            found[line] = clock.of(line, partial(candidates, image, raw[source], config, seen)).filtered.boxes
    return found


def needed(line: str) -> list[str]:
    """Return the kinds of work that a line needs."""
    preset, _, source = line.partition(", ")
    if not source:
        return ["map"]
    work = [part for part in source.split("+") if part] + ["attention"] * MINE_PRESETS[preset].needs_objectness
    return [*work, line]


def as_mined(images: list[Image], boxes: list[np.ndarray]) -> Mined:
    """Return the boxes of photos as a set without pairs."""
    none, count = np.empty(0, np.int64), len(images)
    return Mined(
        sizes=np.array([[image.width, image.height] for image in images]),
        start=np.cumsum([0, *map(len, boxes)]),
        boxes=np.concatenate(boxes),
        queries=np.arange(count),
        neighbors=np.empty((count, 0), np.int64),
        nearness=np.empty((count, 0), np.float32),
        query=none,
        key=none,
        similarity=none.astype(np.float32),
        margin=none.astype(np.float32),
        cycle=none.astype(np.float32),
    )


def main() -> None:
    """Measure every line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--dataset", default="demo")
    parser.add_argument("--encoder", default="starter")
    parser.add_argument("--only", type=Path, help="file that lists the photos to measure")
    arguments = parser.parse_args()
    workspace = open_workspace(arguments.workspace)
    store, dataset = workspace.store, dataset_named(workspace.store, arguments.dataset)
    names = None if arguments.only is None else frozenset(arguments.only.read_text().split())
    images = [i for i in usable_images(store, dataset.id) if names is None or photos_named(i, names)]
    features, photos = Features(workspace, encoder_named(store, arguments.encoder)), Photos.of(store, dataset.id)
    compile_search()
    boxes_of(images[0], photos, features, Clock())  # loads the network
    clock = Clock()
    found = [boxes_of(image, photos, features, clock) for image in images]
    ids = np.array([image.id for image in images], np.int64)
    objects = as_objects(annotated_objects(store, ids.tolist()), ids)
    print("|", " | ".join(["boxes", "each photo", *MEASURES, "CPU ms"]), "|")
    print("|---" * (len(MEASURES) + 3) + "|")
    for line in found[0]:
        mined = as_mined(images, [own[line] for own in found])
        measures = with_labels(mined, objects)
        shares = [f"{100 * measures[name]:.1f} %" for name in MEASURES.values()]
        spent = sum(clock.spent[work] for work in needed(line)) / len(images)
        print("|", " | ".join([line, f"{len(mined.boxes) / len(images):.1f}", *shares, f"{spent:.0f}"]), "|")


if __name__ == "__main__":
    main()
