"""Every method of the paper on the user's photos, at a size for a small machine, in one table. Does not import torch.

Each training, mining and evaluation is an ordinary run of the workspace. Finished runs are reused, so an interrupted
call can be repeated to continue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from orl_explorer.db.encoders import encoder_named, find_encoder
from orl_explorer.db.models import CorrespondenceSet, Dataset, Encoder
from orl_explorer.db.photos import unite
from orl_explorer.db.runs.runs import metrics, run_by_id
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.folders import voc_split
from orl_explorer.train.evaluate.protocols import (
    AttentionConfig,
    CorrespondenceConfig,
    EvaluateConfig,
    KNNConfig,
    SVMConfig,
)
from orl_explorer.train.ingest.ingest import ingest
from orl_explorer.train.ingest.walk import walk
from orl_explorer.train.jobs import once
from orl_explorer.train.jobs.kinds import Evaluate, Mine
from orl_explorer.train.jobs.trainings import Pretrain, Train
from orl_explorer.train.mining.config import MINE_PRESETS, MineConfig
from orl_explorer.train.progress import Progress
from orl_explorer.train.settings import preset_named, with_settings
from orl_explorer.train.training.config import TrainConfig
from orl_explorer.train.training.cost import operations_per_image
from orl_explorer.train.training.methods import ORLConfig, train_preset
from orl_explorer.train.workspace import Workspace

SPLITS = (
    ("trainval", "test"),
    ("train", "val"),
)  # of VOC, to train and to test classifiers; the first pair that exists is used
STAGE_1 = ("simclr", "moco", "byol", "multicrop")
WEIGHTS = ("image_weight", "intra_weight", "inter_weight")
BRANCHES = {  # lambda 1 to 3 of each ORL (Table 5a)
    "ORL, inter-RoI only": (1.0, 0.0, 1.0),
    "ORL, intra-RoI only": (1.0, 1.0, 0.0),
    "ORL": (1.0, 1.0, 1.0),
}
SECOND = "ORL, second round"  # mined again with the encoder of the first round
OWN = "byol"  # stands for the encoder that this call trains with BYOL
PILOT_EPOCHS = 2
SCALE = 0.5  # of photos for selective search, which makes it five times as fast
CROPS = {"paper": 30, "object": 35}  # approximate RoIs per photo; an attention map costs as much as ten crops
SEARCH = 0.3  # approximate seconds of selective search per photo
START = 8.0  # seconds to start a run's process
ATTENDED = 150  # photos whose attention maps are measured; each costs as much as six crops


@dataclass(frozen=True)
class Row:
    """A method, its encoder, and its numbers: shares of 1, and training speed in photos per second."""

    method: str
    encoder: str
    numbers: dict[str, float]
    svm_run: int = 0  # its folder holds the SVM scores of each photo


@dataclass(frozen=True)
class OtherPairs:
    """Further pairs to train ORL on: mined with an encoder (OWN is BYOL's) and a mining preset."""

    encoder: str
    mining: str

    @property
    def method(self) -> str:
        """The title of their row in the table."""
        return f"ORL, pairs by {'BYOL' if self.encoder == OWN else self.encoder}, {self.mining}"


@dataclass(frozen=True)
class ReproduceSubject:
    """The data of all trainings and evaluations.

    dataset: photos to train on. voc: the folder VOC2007. splits: its two splits. measured: dataset of the second split.
    """

    dataset: Dataset
    photos: int
    voc: Path
    measured: str
    splits: tuple[str, str]


def reproduce(
    workspace: Workspace,
    folder: Path,
    *,
    voc: Path | None = None,
    epochs: int | None = None,
    hours: float | None = None,
    mining: str = "paper",
    changes: Mapping[str, Any] = MappingProxyType({}),
    mine_changes: Mapping[str, Any] = MappingProxyType({}),
    pairs: Sequence[OtherPairs] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[Row]:
    """Train every method on the photos of a folder, mine, evaluate each encoder, and yield its row.

    Encoders are evaluated on VOC2007, inside the folder or at ``voc``. Photos of its test split are never trained on.
    Give epochs or hours; the epochs that fit into the hours are computed from the time of two epochs of BYOL and of the
    evaluation of random weights. mining: preset of mining. mine_changes: changes to it. changes: changes to the preset
    ``small`` of every method that has the setting. pairs: further pairs to train all three branches of ORL on, one row
    each. Raises UserError or StoreError.
    """
    progress = progress or Progress()
    if (epochs is None) == (hours is None):
        raise UserError("Give either a number of epochs or a number of hours.")
    minings = {
        name: with_settings(preset_named(MINE_PRESETS, name), {"proposal_scale": SCALE} | dict(mine_changes))
        for name in (mining, *(each.mining for each in pairs))
    }
    for each in pairs:
        if each.encoder != OWN:
            encoder_named(workspace.store, each.encoder)
    configs = _trainings({**changes, "seed": seed})
    subject = gather_photos(workspace, folder, voc)
    progress.log(f"{subject.photos} photos to train on ('{subject.dataset.name}'), '{subject.measured}' to test on.")
    random = _random(workspace, configs["byol"].backbone)
    yield _row(workspace, subject, "random weights", random, progress)
    if hours is not None:
        epochs = _affordable(workspace, subject, configs, random, mining, pairs, hours, progress)
    assert epochs is not None
    configs = {m: with_settings(config, {"epochs": epochs, "knn_every": 0}) for m, config in configs.items()}
    for method in STAGE_1:
        job = Pretrain(name=f"{method}-{epochs}", dataset_id=subject.dataset.id, config=configs[method])
        made = once.trained(workspace, job, progress)
        if method == "byol":
            byol = made
        yield _row(workspace, subject, configs[method].title, made, progress)
    yield from _stages_2_and_3(workspace, subject, configs["orl"], byol, minings, mining, pairs, progress)


def _stages_2_and_3(
    workspace: Workspace,
    subject: ReproduceSubject,
    base: TrainConfig,
    byol: Encoder,
    minings: Mapping[str, MineConfig],
    mining: str,
    pairs: Sequence[OtherPairs],
    progress: Progress,
) -> Iterator[Row]:
    """Train ORL by its branches on BYOL's pairs, again on pairs of its own, and on the further pairs."""
    assert isinstance(base, ORLConfig)

    def mined(encoder: Encoder, preset: str) -> CorrespondenceSet:
        ids = {"dataset_id": subject.dataset.id, "encoder_id": encoder.id}
        job = Mine(name=f"{encoder.name}-{preset}", config=minings[preset], **ids)
        return once.mined(workspace, job, progress)

    def trained(correspondence: CorrespondenceSet, config: ORLConfig, name: str) -> Encoder:
        job = Train(name=f"orl-{base.epochs}-{name}", correspondence_set_id=correspondence.id, config=config)
        return once.trained(workspace, job, progress)

    first = mined(byol, mining)
    for method, lambdas in BRANCHES.items():
        weights = dict(zip(WEIGHTS, lambdas, strict=True))
        last = trained(first, with_settings(base, weights), "-".join(f"{value:g}" for value in lambdas))
        yield _row(workspace, subject, method, last, progress)
    again = trained(mined(last, mining), base, "again")
    yield _row(workspace, subject, SECOND, again, progress)
    for each in pairs:
        by = byol if each.encoder == OWN else encoder_named(workspace.store, each.encoder)
        correspondence = mined(by, each.mining)
        other = trained(correspondence, base, f"of-{correspondence.name}")
        yield _row(workspace, subject, each.method, other, progress)


def _trainings(changes: Mapping[str, Any]) -> dict[str, TrainConfig]:
    """Return the settings of each method. Raises UserError for a setting that no method has."""
    presets = {method: train_preset(method, "small") for method in (*STAGE_1, "orl")}
    unknown = {
        name: v for name, v in changes.items() if all(name not in type(p).model_fields for p in presets.values())
    }
    with_settings(presets["orl"], unknown)
    return {
        method: with_settings(preset, {k: v for k, v in changes.items() if k in type(preset).model_fields})
        for method, preset in presets.items()
    }


def gather_photos(workspace: Workspace, folder: Path, voc: Path | None = None) -> ReproduceSubject:
    """Ingest VOC's two splits as datasets, and everything else in the folder to train on. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    folder = folder.resolve()
    inside = _voc_in(folder)
    found = inside if voc is None else _voc_in(voc.resolve())
    if found is None:
        raise UserError(
            f"{voc or folder} has no VOC2007 (ImageSets/Main, JPEGImages, Annotations) to test on. "
            "Give its folder with --voc FOLDER."
        )
    learn, measure = splits = _splits(found)
    datasets = {split: _linked(workspace, found, split) for split in splits}
    names = [datasets[learn]] if inside == found else []
    if inside is None:
        parts = [folder]
    else:
        others = [part for part in sorted(folder.iterdir()) if part.is_dir() and part.name[0] != "."]
        parts = [part for part in others if not inside.is_relative_to(part) and folder != inside and any(walk(part))]
    names += [ingest(workspace, part).dataset.name for part in parts]
    whole = unite(workspace.store, names)
    return ReproduceSubject(whole, whole.image_count, found, datasets[measure], (learn, measure))


def seconds_per_epoch(config: TrainConfig, photos: int, speed: float) -> float:
    """Return the seconds of an epoch at a speed in 10^9 operations per second."""
    return photos // config.batch_size * config.batch_size * operations_per_image(config) / speed


def protocols(subject: ReproduceSubject) -> dict[str, tuple[str, EvaluateConfig]]:
    """Return data and settings of the evaluations of every encoder, by protocol.

    Pairs are mined among annotated boxes, which do not depend on an encoder.
    """
    learn, measure = subject.splits
    lists = {"train_split": learn, "test_split": measure}
    return {
        "voc07-svm": (str(subject.voc), SVMConfig(**lists)),
        "knn": (str(subject.voc), KNNConfig(**lists)),
        "correspondence": (subject.measured, CorrespondenceConfig(proposals="annotations", queries=1000)),
        "attention": (subject.measured, AttentionConfig(photos=ATTENDED)),
    }


def _row(workspace: Workspace, subject: ReproduceSubject, method: str, encoder: Encoder, progress: Progress) -> Row:
    made = {
        name: once.evaluated(workspace, Evaluate.on(workspace, encoder, data, config), progress)
        for name, (data, config) in protocols(subject).items()
    }
    found = {name: evaluation.summary for name, evaluation in made.items()}
    svm, pairs, attention = found["voc07-svm"], found["correspondence"], found["attention"]
    numbers = {
        "map": svm["map"],
        "map_low": svm["map_low"],
        "map_high": svm["map_high"],
        "knn": found["knn"]["accuracy"],
        "same_class": pairs["same_class"],
        "same_class_chance": pairs["same_class_chance"],
        "attention": attention["activation_mean_iou"],
        "attention_chance": attention["activation_mean_iou_chance"],
        "pointing": attention["activation_pointing"],
        "pointing_chance": attention["activation_pointing_chance"],
    }
    if encoder.run_id is not None:
        numbers["images_per_second"] = _images_per_second(workspace, encoder.run_id)
    return Row(method, encoder.name, numbers, made["voc07-svm"].run_id)


def _random(workspace: Workspace, backbone: str) -> Encoder:
    name = f"random-{backbone}"
    found = find_encoder(workspace.store, name)
    if found is None:
        from orl_explorer.train.encoders.weights import add

        found = add(workspace, f"random:{backbone}", name)
    return found


def _affordable(
    workspace: Workspace,
    subject: ReproduceSubject,
    configs: dict[str, TrainConfig],
    random: Encoder,
    mining: str,
    pairs: Sequence[OtherPairs],
    hours: float,
    progress: Progress,
) -> int:
    """Return how many epochs of each training fit into some hours. Raises UserError if none does."""
    pilot = with_settings(configs["byol"], {"epochs": PILOT_EPOCHS, "knn_every": 0})
    made = once.trained(workspace, Pretrain(name="pilot", dataset_id=subject.dataset.id, config=pilot), progress)
    assert made.run_id is not None
    speed = _images_per_second(workspace, made.run_id) * operations_per_image(pilot)
    measuring = {name: _seconds(workspace, random, *each) for name, each in protocols(subject).items()}
    encoders = 1 + len(STAGE_1) + len(BRANCHES) + 1 + len(pairs)
    crop = measuring["knn"] / max(1, _photos_of_voc(subject))
    crops = sum(1 + CROPS[preset] for preset in (mining, mining, *(other.mining for other in pairs)))
    fixed = sum(measuring.values()) * encoders + subject.photos * (crops * crop + SEARCH)
    fixed += START * (len(STAGE_1) + len(BRANCHES) + 3 + 2 * len(pairs)) + _seconds_of(workspace, made.run_id)
    each = [seconds_per_epoch(configs[method], subject.photos, speed) for method in STAGE_1]
    orl = configs["orl"]
    whole = (1.0, 1.0, 1.0)
    for lambdas in (*BRANCHES.values(), whole, *(whole for _ in pairs)):
        branches = with_settings(orl, dict(zip(WEIGHTS, lambdas, strict=True)))
        each.append(seconds_per_epoch(branches, subject.photos, speed))
    epochs = int((3600 * hours - fixed) / sum(each))
    progress.log(
        f"One epoch of all trainings takes about {sum(each):.0f} s, everything else {fixed / 60:.0f} min: "
        f"{max(0, epochs)} epochs in {hours:g} h."
    )
    if epochs < 1:
        raise UserError(f"{hours:g} h are too few. Evaluating and mining alone take about {fixed / 3600:.1f} h here.")
    return epochs


def _images_per_second(workspace: Workspace, run_id: int) -> float:
    """Return the median speed of a run's steps."""
    return float(np.median([v for _, name, v in metrics(workspace.store, run_id) if name == "images_per_second"]))


def _seconds(workspace: Workspace, encoder: Encoder, data: str, config: EvaluateConfig) -> float:
    return _seconds_of(workspace, once.evaluated(workspace, Evaluate.on(workspace, encoder, data, config)).run_id)


def _seconds_of(workspace: Workspace, run_id: int) -> float:
    run = run_by_id(workspace.store, run_id)
    assert run.started_at is not None and run.ended_at is not None
    return max(0.0, (run.ended_at - run.started_at).total_seconds()) + START  # the clock may have been set back


def _photos_of_voc(subject: ReproduceSubject) -> int:
    return sum(len(voc_split(subject.voc, split).files) for split in subject.splits)


def _voc_in(folder: Path) -> Path | None:
    places = (folder, folder / "VOC2007", folder / "VOCdevkit" / "VOC2007")
    return next((place for place in places if (place / "ImageSets" / "Main").is_dir()), None)


def _splits(voc: Path) -> tuple[str, str]:
    there = {path.stem.rpartition("_")[2] for path in (voc / "ImageSets" / "Main").glob("*_*.txt")}
    found = next((pair for pair in SPLITS if there.issuperset(pair)), None)
    if found is None:
        raise UserError(
            f"{voc / 'ImageSets/Main'} has lists of neither {' nor '.join(' and '.join(p) for p in SPLITS)}."
        )
    return found


def _linked(workspace: Workspace, voc: Path, split: str) -> str:
    """Make a dataset of one split from links to VOC's files in the workspace, and return its name."""
    name = f"voc07-{split}"
    root = workspace.path / "splits" / name
    for file in map(Path, voc_split(voc, split).files):
        annotation = voc / "Annotations" / f"{file.stem}.xml"
        for source, kind in ((file, "JPEGImages"), (annotation, "Annotations")):
            link = root / kind / source.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if source.is_file() and not link.is_symlink():
                link.symlink_to(source)
    return ingest(workspace, root, layout="voc", name=name).dataset.name
