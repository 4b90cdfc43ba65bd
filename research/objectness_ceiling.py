"""Measure how much a better objectness could gain: rank the candidates of photos in several ways against annotations.

    python research/objectness_ceiling.py --workspace DIR --teach voc07-objects train.txt --judge coco-objects

Both sets must have been mined with the same encoder and the preset ``object``. The candidates of a photo are ranked by
the preset's merit, which uses no labels; by a logistic regression on RoI features, box and objectness, trained on the
annotations of other photos or of the judged set (five folds); and by the annotations themselves. The last ranking is an
upper bound for all rankings, the regression one for rankings that are linear in the features. Prints a Markdown table:
the share of objects (IoU ≥ 0.5) among the first 1 and 4 candidates of each photo.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from orl_explorer.db.encoders import encoder_by_id
from orl_explorer.db.photos import usable_images
from orl_explorer.db.sets.read import complete_set_named
from orl_explorer.db.sets.whole import annotated_objects
from orl_explorer.orl.measure.quality import object_classes
from orl_explorer.train.mining.candidates import candidates, describe, raw_boxes
from orl_explorer.train.mining.config import MineConfig
from orl_explorer.train.mining.features import AttentionMaps, Boxes, Features
from orl_explorer.train.mining.quality import as_objects
from orl_explorer.train.mining.sample import photos_named
from orl_explorer.train.photos import Photos
from orl_explorer.train.workspace import Workspace, open_workspace

FIRST = (1, 4)  # one candidate, and about as many as the query RoIs of the pairs of two photos
FOLDS = 5
STRENGTH = 1e-3  # inverse of the L2 penalty of the regression; a factor of ten changes little


@dataclass(frozen=True)
class Judged:
    """The candidates of a photo: input of a scorer, float64 [B, D], merit [B], and whether they are objects [B]."""

    seen: np.ndarray
    merit: np.ndarray
    is_object: np.ndarray


def read(workspace: Workspace, name: str, only: Path | None) -> list[Judged]:
    """Read the candidates of a set's photos, or of the photos listed in a file."""
    store = workspace.store
    mined = complete_set_named(store, name)
    encoder, config = encoder_by_id(store, mined.encoder_id), MineConfig.of(mined)
    names = None if only is None else frozenset(only.read_text().split())
    images = [i for i in usable_images(store, mined.dataset_id) if names is None or photos_named(i, names)]
    ids = np.array([i.id for i in images], np.int64)
    features, photos = Features(workspace, encoder, precision=config.precision), Photos.of(store, mined.dataset_id)
    maps, raw = AttentionMaps(features, photos).get(images, config), raw_boxes(store, images, config)
    found = {i.id: Boxes.of(candidates(i, raw[i.id], config, maps[i.id])) for i in images}
    objects = as_objects(annotated_objects(store, ids.tolist()), ids)
    judged = []
    for at, image in enumerate(images):
        own, here = found[image.id], slice(*objects.start[at : at + 2])
        vectors = features.rois.get(own.keys)
        x, y, w, h = own.boxes.astype(float).T
        box = np.stack([np.log(w * h / image.width / image.height), np.log(w / h), x / image.width, y / image.height])
        seen = np.concatenate([vectors, box.T, box.T**2, own.objectness[:, None]], axis=1)
        merit = describe(vectors, own.boxes, (image.width, image.height), own.objectness, config).traits.merit
        assert merit is not None, f"'{name}' was not mined by objectness."
        covers = object_classes(own.boxes, objects.boxes[here], objects.classes[here])
        judged.append(Judged(seen, merit, covers >= 0))
    return judged


def taught(photos: list[Judged]) -> Pipeline:
    """Train a scorer on the annotations of photos."""
    scorer = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
    return scorer.fit(np.concatenate([p.seen for p in photos]), np.concatenate([p.is_object for p in photos]))


def across(photos: list[Judged]) -> list[np.ndarray]:
    """Return the scores of each photo's candidates, by a scorer trained on the annotations of the other folds."""
    scorers = [taught([p for n, p in enumerate(photos) if n % FOLDS != fold]) for fold in range(FOLDS)]
    return [scorers[n % FOLDS].decision_function(p.seen) for n, p in enumerate(photos)]


def share(photos: list[Judged], scores: list[np.ndarray], first: int) -> float:
    """Return the share of objects among the first candidates of each photo, averaged over photos."""
    best = [np.argsort(-each, kind="stable")[:first] for each in scores]
    return float(np.mean([p.is_object[rows].mean() for p, rows in zip(photos, best, strict=True)]))


def main() -> None:
    """Measure every ranking and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--teach", nargs="+", required=True, metavar=("SET", "FILE"), help="set, and list of photos")
    parser.add_argument("--judge", nargs="+", required=True, metavar=("SET", "FILE"), help="set, and list of photos")
    arguments = parser.parse_args()
    workspace = open_workspace(arguments.workspace)
    teach, judge = (read(workspace, s[0], Path(s[1]) if s[1:] else None) for s in (arguments.teach, arguments.judge))
    teacher = taught(teach)
    orders = {
        "the preset's merit, no label": [p.merit for p in judge],
        "taught by annotations of other photos": [teacher.decision_function(p.seen) for p in judge],
        f"taught by annotations of the same dataset, {FOLDS} folds": across(judge),
        "annotations themselves": [p.is_object.astype(float) for p in judge],
    }
    print("|", " | ".join([f"{len(judge)} photos, by", *(f"first {first}" for first in FIRST)]), "|")
    print("|---" * (len(FIRST) + 1) + "|")
    for name, scores in orders.items():
        print("|", " | ".join([name, *(f"{100 * share(judge, scores, first):.1f} %" for first in FIRST)]), "|")


if __name__ == "__main__":
    main()
