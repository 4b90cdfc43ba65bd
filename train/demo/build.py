"""Building the demo workspace: compose, ingest, add the starter encoder, mine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from orl_explorer.db.encoders import find_encoder
from orl_explorer.db.models import Run
from orl_explorer.db.photos import datasets
from orl_explorer.db.runs.runs import LIVE, runs
from orl_explorer.db.sets.read import find_set
from orl_explorer.train.demo.scenes import Scene, compose_scene
from orl_explorer.train.files import said_plainly
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.jobs.kinds import Mine
from orl_explorer.train.jobs.launcher import launch, reconcile, resume
from orl_explorer.train.mining.config import MINE_PRESETS, NO_MINIMUM
from orl_explorer.train.pools import helpers
from orl_explorer.train.progress import map_ahead
from orl_explorer.train.settings import with_settings
from orl_explorer.train.workspace import Workspace

NAME = "demo"  # of the dataset
SET = "demo-starter"
ENCODER = "starter"
SCENES = 160
SEED = 2021
# Selective search at half size takes minutes on two cores. The objects of the scenes are small and of similar size, so
# objectness would prefer boxes with several objects, and 25 RoIs hold all of them.
CONFIG = with_settings(
    MINE_PRESETS["object"],
    {"proposal_scale": 0.5, "pair_ratio": 0.2, "object_weight": 0, "scored_by": "contrast"}
    | {"min_size": 96, "max_rois": 25, "spread_after": 1000}
    | {"sparse_weight": 0.25, "min_worth": NO_MINIMUM, "cover_photo": False},
)

_Report = Callable[[int, int], None]  # called with the number of finished scenes and of all scenes


def compose(folder: Path, count: int = SCENES, seed: int = SEED, report: _Report = lambda *_: None) -> Path:
    """Write demo scenes as a COCO dataset: images/*.jpg and annotations/scenes.json.

    The folder is created atomically, also if several processes do so at once. An existing folder is not changed.
    Raises UserError if the disk is full.
    """
    if folder.is_dir():
        return folder
    aside = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}")
    try:
        with said_plainly(folder):
            _compose(aside, count, seed, report)
            if not folder.is_dir():  # else another process was faster
                aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _compose(aside: Path, count: int, seed: int, report: _Report) -> None:
    (aside / "images").mkdir(parents=True)
    (aside / "annotations").mkdir()
    images: list[dict] = []
    annotations: list[dict] = []
    categories: dict[str, int] = {}
    with helpers(os.cpu_count() or 1) as pool:
        written = map_ahead(pool, partial(_write, aside / "images", seed), range(count), ahead=16)
        for index, (name, scene_size, objects) in enumerate(written):
            images.append({"id": index + 1, "file_name": name, "width": scene_size[0], "height": scene_size[1]})
            for category, *box in objects:
                number = categories.setdefault(category, len(categories) + 1)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": number,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
            report(index + 1, count)
    content = {
        "info": {"description": "Scenes composed from photos shipped with scikit-image and scikit-learn", "seed": seed},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    (aside / "annotations" / "scenes.json").write_text(json.dumps(content))


def _write(folder: Path, seed: int, index: int) -> tuple[str, tuple[int, int], list[tuple]]:
    scene: Scene = compose_scene(seed, index)
    name = f"scene-{index:03d}.jpg"
    Image.fromarray(scene.image).save(folder / name, quality=92)
    height, width = scene.image.shape[:2]
    return name, (width, height), [(o.category, o.x, o.y, o.w, o.h) for o in scene.objects]


def is_built(workspace: Workspace) -> bool:
    """Whether the demo's correspondence set is complete."""
    found = find_set(workspace.store, SET)
    return found is not None and found.status == "complete"


def is_empty(workspace: Workspace) -> bool:
    """Whether the workspace has no dataset."""
    return not datasets(workspace.store)


def build_demo(workspace: Workspace, report: _Report = lambda *_: None, count: int = SCENES) -> Run | None:
    """Make the demo dataset, start mining it and return the run, or None if the set is already complete.

    If it was interrupted, call it again to continue.
    """
    if is_built(workspace):
        return None
    from orl_explorer.train.encoders.weights import add

    root = compose(workspace.path / "demo", count, report=report)
    scenes = ingest(workspace, root, layout="coco", name=NAME).dataset
    starter = find_encoder(workspace.store, ENCODER) or add(workspace, "starter", ENCODER)
    reconcile(workspace)
    begun = [r for r in runs(workspace.store) if r.kind == "mine" and r.name == SET]
    if not begun:
        return launch(workspace, Mine(name=SET, dataset_id=scenes.id, encoder_id=starter.id, config=CONFIG))
    return begun[0] if begun[0].status in LIVE else resume(workspace, begun[0].id)
