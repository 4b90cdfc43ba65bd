"""The evaluation protocols: their settings, presets and modules. This module does not import torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from orl_explorer.db.models import Encoder
from orl_explorer.db.people.kept_out import kept_out
from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.evaluations import Values
from orl_explorer.orl.reading import LARGEST
from orl_explorer.orl.selective_search.opencv import MIN_SIZE
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.coco import check_coco
from orl_explorer.train.evaluate.fine_tuning import refuse_all_but_resnets, refuse_own_reading
from orl_explorer.train.evaluate.folders import (
    check_dataset,
    check_folders,
    check_voc,
    check_voc_or_folders,
    check_voc_svm,
    state_of,
)
from orl_explorer.train.settings import Settings, preset_named, setting
from orl_explorer.train.workspace import Workspace


def _split_text(value: object) -> object:
    """Split the text of ``--set ks=1,2,4`` or of a form's field into a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_split_text), Field(min_length=1)]
Factors = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_split_text), Field(min_length=1)]


CropSize = Annotated[
    int,
    setting(
        0,
        ge=0,
        le=LARGEST,
        help="Side of the network's input, in pixels, rounded to what the network takes. 0: the encoder's own, which "
        "is 224 unless it was added with another",
    ),
]


class EvaluateConfig(Settings):
    """The settings of all protocols."""

    title: ClassVar[str]
    protocol: str
    seed: int = setting(0, ge=0, le=2**31 - 1, help="Seed of all random draws")


class VOCConfig(EvaluateConfig):
    """The settings of the protocols on VOC07."""

    train_split: str = setting("trainval", min_length=1, help="Split to train on, as in ImageSets/Main/CLASS_SPLIT.txt")
    test_split: str = setting("test", min_length=1, help="Split to test on")
    crop_size: CropSize = 0
    workers: int = setting(2, ge=0, le=256, help="Processes that fit classifiers. 0: no additional process")

    @model_validator(mode="after")
    def _two_splits(self) -> VOCConfig:
        if self.train_split == self.test_split:
            raise ValueError("train_split and test_split must not be the same")
        return self


class SVMConfig(VOCConfig):
    """Linear SVMs on frozen features (Table 1)."""

    title: ClassVar[str] = "VOC07 linear SVM"
    protocol: Literal["voc07-svm"] = "voc07-svm"
    bootstrap: int = setting(1000, ge=0, le=100_000, help="Bootstrap samples for the 95 % intervals. 0: no intervals")


class LowShotConfig(VOCConfig):
    """Linear SVMs on a few positives of each class (Fig. 3)."""

    title: ClassVar[str] = "VOC07 low-shot SVM"
    protocol: Literal["voc07-lowshot"] = "voc07-lowshot"
    ks: Counts = setting(
        (1, 2, 4, 8, 16, 32, 64, 96),
        help="Values of k. A class is learned from k positive and 19 k negative photos",
    )
    samples: int = setting(5, ge=1, le=1000, help="Number of independent samples per k")


class HeadConfig(EvaluateConfig):
    """The settings of the protocols that train by gradient descent."""

    epochs: int = setting(28, ge=1, le=100_000, help="Passes over the training photos")
    steps: Counts = setting((8, 16, 24), help="Epochs at which the learning rate falls")
    batch_size: int = setting(256, ge=2, le=65_536, help="Photos per step")
    momentum: float = setting(0.9, ge=0, lt=1, help="Momentum of SGD")
    weight_decay: float = setting(1e-4, ge=0, le=1, help="Weight decay")
    image_size: int = setting(224, ge=32, le=1024, help="Side of the network's input, in pixels")
    workers: int = setting(4, ge=0, le=256, help="Processes that load photos")


class LinearConfig(HeadConfig):
    """Linear classifiers at five depths of the frozen backbone (Table 1)."""

    title: ClassVar[str] = "linear probes"
    protocol: Literal["linear"] = "linear"
    rate: float = setting(0.01, gt=0, le=100, help="Learning rate at the start")
    gamma: float = setting(0.1, gt=0, le=1, help="Factor by which the learning rate is multiplied each time it falls")
    views: Literal["colour", "crop", "centre"] = setting(
        "colour",
        help="Views of training photos. colour: random crops with changes of colour and lighting. crop: random crops. "
        "centre: centre crops, whose features are computed only once",
    )


class SemiConfig(HeadConfig):
    """Fine-tuning on a share of the labels (Table 2)."""

    title: ClassVar[str] = "semi-supervised fine-tuning"
    protocol: Literal["semi"] = "semi"
    fraction: float = setting(0.01, gt=0, le=1, help="Share of the labelled photos to train on")
    list_file: str = setting("", help="File that lists the photos to train on, one per line. Empty: a random sample")
    epochs: int = setting(20, ge=1, le=100_000, help="Passes over the training photos")
    steps: Counts = setting((12, 16), help="Epochs at which the learning rate falls")
    gamma: float = setting(0.2, gt=0, le=1, help="Factor by which the learning rate is multiplied each time it falls")
    rates: Factors = setting((0.001, 0.01, 0.1), help="Learning rates of the backbone to try")
    head_multipliers: Factors = setting((1, 10, 100), help="Head learning rates to try, as multiples of the backbone's")
    weight_decay: float = setting(5e-4, ge=0, le=1, help="Weight decay")


class KNNConfig(EvaluateConfig):
    """Classification by nearest neighbours, without training."""

    title: ClassVar[str] = "k-NN classification"
    protocol: Literal["knn"] = "knn"
    ks: Counts = setting((1, 5, 20, 100, 200), help="Numbers of voting neighbours to measure")
    k: int = setting(20, ge=1, le=10_000, help="Number of voting neighbours of the accuracy that tables show")
    temperature: float = setting(0.07, gt=0, le=10, help="Temperature of the votes, exp(cosine / temperature)")
    train_split: str = setting("trainval", min_length=1, help="Split whose photos vote, if the data are VOC")
    test_split: str = setting("test", min_length=1, help="Split to classify, if the data are VOC")
    crop_size: CropSize = 0


class CorrespondenceConfig(EvaluateConfig):
    """The share of pairs that show objects of one class, among boxes that do not depend on the encoder."""

    title: ClassVar[str] = "quality of pairs"
    protocol: Literal["correspondence"] = "correspondence"
    queries: int = setting(200, ge=1, le=10_000_000, help="Number of query photos, drawn at random")
    neighbors: int = setting(10, ge=1, le=100, help="K: number of nearest neighbours of each photo")
    pair_ratio: float = setting(0.1, gt=0, le=1, help="N: pairs to keep per neighbour, as a share of the query's RoIs")
    proposals: str = setting(
        "search",
        min_length=1,
        help="Source of raw boxes: search, annotations, or the name of imported proposals, which must be stored",
    )
    proposal_scale: float = setting(1.0, ge=0.1, le=1, help="Scale at which selective search found the raw boxes")
    segment_size: int = setting(
        MIN_SIZE, ge=1, le=10_000, help="Minimum size of the regions that selective search started from, in pixels"
    )


class AttentionConfig(EvaluateConfig):
    """How well attention maps find annotated objects (Fig. 4; the paper only shows pictures)."""

    title: ClassVar[str] = "attention on objects"
    protocol: Literal["attention"] = "attention"
    photos: int = setting(1000, ge=1, le=10_000_000, help="Number of annotated photos to measure, drawn at random")


class DetectionConfig(EvaluateConfig):
    """Mask R-CNN on the backbone, fine-tuned in whole (Table 3)."""

    title: ClassVar[str] = "detection and segmentation"
    protocol: Literal["detection"] = "detection"
    iterations: int = setting(
        90_000, ge=1, le=10_000_000, help="Number of training steps. The 1x schedule has 90 000 steps of 16 photos"
    )
    steps: Counts = setting((60_000, 80_000), help="Steps at which the learning rate falls")
    gamma: float = setting(0.1, gt=0, le=1, help="Factor by which the learning rate is multiplied each time it falls")
    warmup: int = setting(1000, ge=0, help="Steps over which the learning rate ramps up")
    rate: float = setting(0.02, gt=0, le=100, help="Learning rate for a batch of 16")
    batch_size: int = setting(16, ge=1, le=1024, help="Photos per step")
    accumulate: int = setting(
        1,
        ge=1,
        le=1024,
        help="Number of parts of a batch, processed in turn to save memory. Batch norm normalises each part by itself",
    )
    momentum: float = setting(0.9, ge=0, lt=1, help="Momentum of SGD")
    weight_decay: float = setting(1e-4, ge=0, le=1, help="Weight decay")
    sides: Counts = setting(
        (640, 672, 704, 736, 768, 800),
        help="Short sides of training photos, in pixels, drawn at random. The last one is used for testing",
    )
    longest: int = setting(1333, ge=32, le=10_000, help="Maximum long side of a photo, in pixels")
    train_json: str = setting("annotations/instances_train2017.json", help="COCO json of the training photos")
    train_photos: str = setting("train2017", help="Folder of the training photos")
    val_json: str = setting("annotations/instances_val2017.json", help="COCO json of the test photos")
    val_photos: str = setting("val2017", help="Folder of the test photos")
    checkpoint_every: int = setting(2500, ge=1, help="Steps between checkpoints")
    workers: int = setting(4, ge=0, le=256, help="Processes that load photos")

    @model_validator(mode="after")
    def _even(self) -> DetectionConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(f"a batch of {self.batch_size} cannot be divided into {self.accumulate} equal parts")
        return self


@dataclass(frozen=True)
class Result:
    """The result of an evaluation.

    numbers: by name. values: for plots, by name and key. notes: sentences that qualify the numbers.
    """

    numbers: dict[str, float]
    values: Values = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate an encoder.

    headline: the number that tables show, a share of 1. data: the data that ``--data`` expects. takes_folder: whether
    the data are a folder; if not, the name of a dataset. presets: the first is the default. check: raises UserError or
    StoreError if the data cannot be used; reads no photo. module: has
    ``evaluate(workspace, encoder, data, config, *, run_id, progress) -> Result``. refuse: raises UserError if the
    encoder cannot be used.
    """

    headline: str
    headline_title: str
    data: str
    presets: dict[str, EvaluateConfig]
    check: Callable[[Workspace, str, Any], None]
    module: str
    takes_folder: bool = True
    refuse: Callable[[Encoder], None] = lambda _: None

    @property
    def title(self) -> str:
        """The name of the protocol, for people."""
        return self.config.title

    @property
    def config(self) -> type[EvaluateConfig]:
        """The class of its settings."""
        return type(next(iter(self.presets.values())))


# For a machine without a GPU and a folder of a few thousand photos.
LITTLE_LINEAR = LinearConfig(views="centre", batch_size=32, epochs=30, steps=(15, 25), workers=2)
LITTLE_SEMI = SemiConfig(
    fraction=0.1, image_size=96, batch_size=16, epochs=10, steps=(6, 8), rates=(0.01,), head_multipliers=(1, 10)
)

LITTLE_DETECTION = DetectionConfig(
    iterations=300,
    steps=(200, 267),
    warmup=50,
    rate=0.0025,
    batch_size=2,
    sides=(240,),
    longest=400,
    checkpoint_every=25,
    workers=2,
)

PROTOCOLS: dict[str, Protocol] = {
    "voc07-svm": Protocol(
        headline="map",
        headline_title="mAP",
        data="folder VOCdevkit, or the folder VOC2007 inside it",
        presets={"paper": SVMConfig()},
        check=check_voc_svm,
        module="orl_explorer.train.evaluate.voc07_svm",
    ),
    "voc07-lowshot": Protocol(
        headline="clean_map",
        headline_title="mean mAP over k",
        data="folder VOCdevkit, or the folder VOC2007 inside it",
        presets={"paper": LowShotConfig()},
        check=check_voc,
        module="orl_explorer.train.evaluate.voc07_lowshot",
    ),
    "linear": Protocol(
        headline="top1",
        headline_title="top-1",
        data="folder with photos in train/CLASS/ and val/CLASS/",
        presets={
            "imagenet": LinearConfig(),
            "places205": LinearConfig(epochs=14, steps=(4, 8, 12), views="crop"),
            "inat18": LinearConfig(epochs=84, steps=(24, 48, 72), views="crop"),
            "small": LITTLE_LINEAR,
        },
        check=check_folders,
        module="orl_explorer.train.evaluate.linear",
    ),
    "semi": Protocol(
        headline="top1",
        headline_title="top-1",
        data="folder with photos in train/CLASS/ and val/CLASS/",
        presets={
            "imagenet-1percent": SemiConfig(),
            "imagenet-10percent": SemiConfig(fraction=0.1, weight_decay=1e-4),
            "small": LITTLE_SEMI,
        },
        check=check_folders,
        module="orl_explorer.train.evaluate.semi",
        refuse=refuse_own_reading,
    ),
    "knn": Protocol(
        headline="accuracy",
        headline_title="accuracy",
        data="folder VOCdevkit, or a folder with photos in train/CLASS/ and val/CLASS/",
        presets={"standard": KNNConfig()},
        check=check_voc_or_folders,
        module="orl_explorer.train.evaluate.knn",
    ),
    "correspondence": Protocol(
        headline="same_class",
        headline_title="same class",
        data="name of a dataset with annotations",
        presets={"standard": CorrespondenceConfig()},
        check=check_dataset,
        module="orl_explorer.train.evaluate.correspondence",
        takes_folder=False,
    ),
    "attention": Protocol(
        headline="activation_mean_iou",
        headline_title="IoU above the mean",
        data="name of a dataset with annotations",
        presets={"standard": AttentionConfig()},
        check=check_dataset,
        module="orl_explorer.train.evaluate.attention",
        takes_folder=False,
    ),
    "detection": Protocol(
        headline="box_ap",
        headline_title="box AP",
        data="folder of COCO with annotations/instances_train2017.json, instances_val2017.json, train2017 and val2017",
        presets={"1x": DetectionConfig(), "small": LITTLE_DETECTION},
        check=check_coco,
        module="orl_explorer.train.evaluate.detection",
        refuse=refuse_all_but_resnets,
    ),
}


def protocol_named(name: str) -> Protocol:
    """Return the protocol of this name. Raises UserError with the known names."""
    if name not in PROTOCOLS:
        raise UserError(f"There is no protocol '{name}'. Known protocols: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def evaluate_preset(protocol: str, preset: str = "") -> EvaluateConfig:
    """Return a preset of a protocol, by default the first. Raises UserError with the known names."""
    presets = protocol_named(protocol).presets
    return preset_named(presets, preset or next(iter(presets)))


def resolved(config: EvaluateConfig, data: str) -> str:
    """Return the data of an evaluation for its run's row: a folder's absolute path, or the name of a dataset."""
    return str(Path(data).expanduser().resolve()) if protocol_named(config.protocol).takes_folder else data


def data_state(workspace: Workspace, data: str, config: EvaluateConfig) -> str:
    """Return a digest of the present data of an evaluation. It changes if the data change."""
    if protocol_named(config.protocol).takes_folder:
        return state_of(data)
    dataset = dataset_named(workspace.store, data)
    state = f"revision {dataset.revision}"
    if isinstance(config, CorrespondenceConfig):  # photos that are kept out of mining are no queries of it
        out = kept_out(workspace.store, dataset.id)
        state += f", without {hashlib.sha256(out.tobytes()).hexdigest()[:16]}" if len(out) else ""
    return state


def read_evaluate_config(values: dict[str, Any]) -> EvaluateConfig:
    """Read the settings of a run. Raises UserError if another version wrote them."""
    try:
        return protocol_named(str(values.get("protocol", ""))).config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"The settings of this run were written by another version of the project "
            f"({'.'.join(map(str, first['loc']))}: {first['msg'].lower()}). Start a new run."
        ) from error
