"""Trainings of the paper's methods on the user's photos, over several seeds, in one table. Does not import torch.

Each training, mining and evaluation is an ordinary run of the workspace. Finished runs are reused and unfinished ones
resumed, so a call can be repeated to continue, on as many evenings as it takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from orl_explorer.db.runs.runs import metrics
from orl_explorer.train.evaluate.protocols import (
    PROTOCOLS,
    AttentionConfig,
    CorrespondenceConfig,
    EvaluateConfig,
    KNNConfig,
    SVMConfig,
)
from orl_explorer.train.experiments.plan import Plan, Planned, ReproduceAsked
from orl_explorer.train.experiments.subject import ReproduceSubject, gather_photos
from orl_explorer.train.jobs import once
from orl_explorer.train.jobs.kinds import Evaluate
from orl_explorer.train.progress import Progress, Stopped
from orl_explorer.train.training.cost import estimate
from orl_explorer.train.words import plural
from orl_explorer.train.workspace import Workspace

ATTENDED = 150  # photos whose attention maps are measured; each costs as much as six crops
PAPER_SIDE = 224  # of crops, in the evaluations of all encoders


@dataclass(frozen=True)
class MeasuredEncoder:
    """One encoder of a method, and its numbers: shares of 1, and training speed in photos per second.

    against: names of the methods that its own is compared with, and what is equal between the two. svm_run: its folder
    holds the SVM scores of each photo; views_run: the same for crops of the side of the training's views.
    """

    method: str
    title: str
    seed: int
    encoder: str
    numbers: dict[str, float]
    against: Mapping[str, str] = field(default_factory=dict)
    svm_run: int = 0
    views_run: int = 0


class Hours(Progress):
    """Progress that ends the work by ``Stopped`` when some hours are over. None: never."""

    def __init__(self, outer: Progress, hours: float | None) -> None:
        self._outer = outer
        self._end = None if hours is None else time.monotonic() + 3600 * hours

    def phase(self, name: str, total: int) -> None:
        self._outer.phase(name, total)

    def advance(self, count: int = 1) -> None:
        self.check()
        self._outer.advance(count)

    def check(self) -> None:
        if self._end is not None and time.monotonic() > self._end:
            raise Stopped
        self._outer.check()

    def log(self, message: str) -> None:
        self._outer.log(message)


def reproduce(
    workspace: Workspace,
    folder: Path,
    asked: ReproduceAsked,
    *,
    voc: Path | None = None,
    hours: float | None = None,
    progress: Progress | None = None,
) -> Iterator[MeasuredEncoder]:
    """Train methods on the photos of a folder, seed by seed, evaluate each encoder, and yield its numbers.

    Encoders are evaluated on VOC2007, inside the folder or at ``voc``. Photos of its test split are never trained on.
    After ``hours``, the run that is going on stops at a checkpoint, what is left is logged, and the iterator ends.
    Raises UserError or StoreError.
    """
    progress = Hours(progress or Progress(), hours)
    plan = Plan(workspace, asked, progress)  # refuses wrong settings before photos are read
    subject = gather_photos(workspace, folder, voc, progress.log)
    progress.log(f"{subject.photos} photos to train on ('{subject.dataset.name}'), '{subject.measured}' to test on.")
    for data, config in protocols(subject, plan.side).values():
        PROTOCOLS[config.protocol].check(workspace, data, config)
    rows = plan.rows(subject)
    left = [(row, seed) for seed in asked.seeds for row in rows]
    seconds = [estimate(workspace.store, row.config, subject.photos).seconds for row in rows if row.config is not None]
    progress.log(
        f"{plural(len(seconds) * len(asked.seeds), 'training')}, of about "
        f"{sum(seconds) * len(asked.seeds) / 60:.0f} minutes in all, beside mining and measuring, less what is there "
        "already."
    )
    while left:
        row, seed = left[0]
        try:
            progress.check()
            yield measure_row(workspace, subject, row, seed, plan.side, progress)
        except Stopped:
            names = ", ".join(f"{other.title} (seed {number})" for other, number in left)
            progress.log(f"The hours are over. Left: {names}. Run the same command again to go on.")
            return
        left.pop(0)


def protocols(subject: ReproduceSubject, side: int) -> dict[str, tuple[str, EvaluateConfig]]:
    """Return data and settings of the evaluations of every encoder, by name. side: of the training's views.

    Pairs are mined among annotated boxes, which do not depend on an encoder.
    """
    learn, measure = subject.splits
    lists = {"train_split": learn, "test_split": measure}
    voc = str(subject.voc)
    return {
        "svm": (voc, SVMConfig(**lists)),
        "views": (voc, SVMConfig(**lists, crop_size=0 if side == PAPER_SIDE else side)),
        "knn": (voc, KNNConfig(**lists)),
        "correspondence": (subject.measured, CorrespondenceConfig(proposals="annotations", queries=1000)),
        "attention": (subject.measured, AttentionConfig(photos=ATTENDED)),
    }


def measure_row(
    workspace: Workspace, subject: ReproduceSubject, row: Planned, seed: int, side: int, progress: Progress
) -> MeasuredEncoder:
    """Make the encoder of a row with a seed, and measure it. Raises UserError, StoreError or Stopped."""
    encoder = row.make(seed)
    made = {
        name: once.evaluated(workspace, Evaluate.on(workspace, encoder, data, config), progress)
        for name, (data, config) in protocols(subject, side).items()
    }
    found = {name: evaluation.summary for name, evaluation in made.items()}
    pairs, attention = found["correspondence"], found["attention"]
    numbers = {
        "map": found["svm"]["map"],
        "map_views": found["views"]["map"],
        "knn": found["knn"]["accuracy"],
        "same_class": pairs["same_class"],
        "same_class_chance": pairs["same_class_chance"],
        "attention": attention["activation_mean_iou"],
        "attention_chance": attention["activation_mean_iou_chance"],
        "pointing": attention["activation_pointing"],
        "pointing_chance": attention["activation_pointing_chance"],
    }
    if encoder.run_id is not None:
        speeds = [v for _, name, v in metrics(workspace.store, encoder.run_id) if name == "images_per_second"]
        numbers["images_per_second"] = float(np.median(speeds))
    runs = {"svm_run": made["svm"].run_id, "views_run": made["views"].run_id}
    return MeasuredEncoder(row.method, row.title, seed, encoder.name, numbers, row.against, **runs)
