"""The protocols of downstream evaluation: settings, presets, and where each one's function is. Free of torch.

The field descriptions are the help texts of the command line and of the forms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from orl_explorer.db.photos import dataset_named
from orl_explorer.db.runs.evaluations import Values
from orl_explorer.train.errors import UserError
from orl_explorer.train.evaluate.coco import check_coco
from orl_explorer.train.evaluate.folders import check_dataset, check_folders, check_voc, check_voc_or_folders, state_of
from orl_explorer.train.settings import Settings, preset_named
from orl_explorer.train.workspace import Workspace


def _split_text(value: object) -> object:
    """``--set ks=1,2,4`` and a form's text field mean a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_split_text), Field(min_length=1)]
Factors = Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(_split_text), Field(min_length=1)]


class EvaluateConfig(Settings):
    """What every protocol has."""

    title: ClassVar[str]
    protocol: str
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of everything drawn")


class VOCConfig(EvaluateConfig):
    """What the protocols on VOC07 have."""

    train_split: str = Field(
        "trainval", min_length=1, description="Split to learn from: ImageSets/Main/CLASS_SPLIT.txt"
    )
    test_split: str = Field("test", min_length=1, description="Split to measure on")
    workers: int = Field(2, ge=0, le=256, description="Processes that fit classifiers; 0: none beside the run's own")

    @model_validator(mode="after")
    def _two_splits(self) -> VOCConfig:
        if self.train_split == self.test_split:
            raise ValueError("train_split and test_split must not be the same")
        return self


class SVMConfig(VOCConfig):
    """Linear SVMs on frozen features (Table 1)."""

    title: ClassVar[str] = "VOC07 linear SVM"
    protocol: Literal["voc07-svm"] = "voc07-svm"
    bootstrap: int = Field(
        1000, ge=0, le=100_000, description="Draws of test photos for the 95 % intervals; 0 for none"
    )


class LowShotConfig(VOCConfig):
    """Linear SVMs on a few positives of each class (Fig. 3)."""

    title: ClassVar[str] = "VOC07 low-shot SVM"
    protocol: Literal["voc07-lowshot"] = "voc07-lowshot"
    ks: Counts = Field((1, 2, 4, 8, 16, 32, 64, 96), description="Positives of each class, with 19 times the negatives")
    samples: int = Field(5, ge=1, le=1000, description="Independent samples of each k")


class HeadConfig(EvaluateConfig):
    """What the protocols that learn by gradient descent have."""

    epochs: int = Field(28, ge=1, le=100_000, description="Passes over the training photos")
    steps: Counts = Field((8, 16, 24), description="Epochs at which the learning rate falls")
    batch_size: int = Field(256, ge=2, le=65_536, description="Photos per step")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Weight decay")
    image_size: int = Field(224, ge=32, le=1024, description="Side of what the network sees, in pixels")
    workers: int = Field(4, ge=0, le=256, description="Processes that load photos")


class LinearConfig(HeadConfig):
    """Linear classifiers on five depths of the frozen backbone (Table 1)."""

    title: ClassVar[str] = "linear probes"
    protocol: Literal["linear"] = "linear"
    rate: float = Field(0.01, gt=0, le=100, description="Learning rate at the start")
    gamma: float = Field(0.1, gt=0, le=1, description="What the learning rate is multiplied by at each step")
    views: Literal["colour", "crop", "centre"] = Field(
        "colour",
        description="Of training photos: random crops with colour jitter and lighting, random crops alone, or centre "
        "crops, whose features are computed only once",
    )


class SemiConfig(HeadConfig):
    """Fine-tuning on a share of the labels (Table 2)."""

    title: ClassVar[str] = "semi-supervised fine-tuning"
    protocol: Literal["semi"] = "semi"
    fraction: float = Field(0.01, gt=0, le=1, description="Share of the labelled photos that are used")
    list_file: str = Field("", description="File that names the photos to use, one a line; none: a seeded sample")
    epochs: int = Field(20, ge=1, le=100_000, description="Passes over the training photos")
    steps: Counts = Field((12, 16), description="Epochs at which the learning rate falls")
    gamma: float = Field(0.2, gt=0, le=1, description="What the learning rate is multiplied by at each step")
    rates: Factors = Field((0.001, 0.01, 0.1), description="Learning rates of the backbone to try")
    head_multipliers: Factors = Field((1, 10, 100), description="How much faster the head learns, to try with each")
    weight_decay: float = Field(5e-4, ge=0, le=1, description="Weight decay")


class KNNConfig(EvaluateConfig):
    """Nearest neighbours as a classifier: nothing is trained."""

    title: ClassVar[str] = "k-NN classification"
    protocol: Literal["knn"] = "knn"
    ks: Counts = Field((1, 5, 20, 100, 200), description="Neighbours that vote; the best k is not picked, k says which")
    k: int = Field(20, ge=1, le=10_000, description="The k of the number that is reported")
    temperature: float = Field(0.07, gt=0, le=10, description="Of the votes: each weighs exp(cosine / temperature)")
    train_split: str = Field("trainval", min_length=1, description="Split that votes, of VOC's layout")
    test_split: str = Field("test", min_length=1, description="Split that is classified, of VOC's layout")


class CorrespondenceConfig(EvaluateConfig):
    """Whether pairs that the encoder finds are objects of one class, among boxes that do not depend on it."""

    title: ClassVar[str] = "quality of pairs"
    protocol: Literal["correspondence"] = "correspondence"
    queries: int = Field(200, ge=1, le=10_000_000, description="Query photos, drawn at random")
    neighbors: int = Field(10, ge=1, le=100, description="K: nearest images of each image")
    pair_ratio: float = Field(
        0.1, gt=0, le=1, description="N: pairs kept per neighbour, as a share of the query's RoIs"
    )
    proposals: str = Field(
        "search", min_length=1, description="Raw boxes: search, annotations, or the name of imported; the store's own"
    )
    proposal_scale: float = Field(1.0, ge=0.1, le=1, description="Scale at which selective search ran")


class AttentionConfig(EvaluateConfig):
    """How well attention maps find annotated objects (Fig. 4, which the paper leaves at pictures)."""

    title: ClassVar[str] = "attention on objects"
    protocol: Literal["attention"] = "attention"
    photos: int = Field(1000, ge=1, le=10_000_000, description="Annotated photos to look at, drawn at random")


class DetectionConfig(EvaluateConfig):
    """Mask R-CNN on the backbone, all of it tuned (Table 3)."""

    title: ClassVar[str] = "detection and segmentation"
    protocol: Literal["detection"] = "detection"
    iterations: int = Field(90_000, ge=1, le=10_000_000, description="Steps; 90 000 of 16 photos are the 1x schedule")
    steps: Counts = Field((60_000, 80_000), description="Steps at which the learning rate falls")
    gamma: float = Field(0.1, gt=0, le=1, description="What the learning rate is multiplied by at each of those")
    warmup: int = Field(1000, ge=0, description="Steps over which the learning rate ramps up")
    rate: float = Field(0.02, gt=0, le=100, description="Learning rate; that of a batch of 16")
    batch_size: int = Field(16, ge=1, le=1024, description="Photos per step")
    accumulate: int = Field(
        1, ge=1, le=1024, description="Parts of a batch that go one after the other; each is normalised by itself"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Weight decay")
    sides: Counts = Field(
        (640, 672, 704, 736, 768, 800),
        description="Short side of a photo in pixels, drawn from these; the last one for testing",
    )
    longest: int = Field(1333, ge=32, le=10_000, description="What no side may exceed, in pixels")
    train_json: str = Field("annotations/instances_train2017.json", description="COCO json of the photos to learn from")
    train_photos: str = Field("train2017", description="Their folder")
    val_json: str = Field("annotations/instances_val2017.json", description="COCO json of the photos to measure on")
    val_photos: str = Field("val2017", description="Their folder")
    checkpoint_every: int = Field(2500, ge=1, description="Steps between checkpoints")
    workers: int = Field(4, ge=0, le=256, description="Processes that load photos")

    @model_validator(mode="after")
    def _even(self) -> DetectionConfig:
        if self.batch_size % self.accumulate:
            raise ValueError(f"a batch of {self.batch_size} cannot be cut into {self.accumulate} equal parts")
        return self


@dataclass(frozen=True)
class Result:
    """What a protocol found: numbers by name, what a plot needs by name and key, and what a reader must be told."""

    numbers: dict[str, float]
    values: Values = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Protocol:
    """One way to evaluate an encoder.

    headline: the number that tables show, a share of 1. data: what ``--data`` must be. takes_folder: or else it is the
    name of a data set. presets: the first one is what you get. check: raises UserError or StoreError where the data
    will not do, without reading a photo. module: has
    ``evaluate(workspace, encoder, data, config, *, run_id, progress) -> Result``.
    """

    headline: str
    headline_title: str
    data: str
    presets: dict[str, EvaluateConfig]
    check: Callable[[Workspace, str, Any], None]
    module: str
    takes_folder: bool = True

    @property
    def title(self) -> str:
        """Its name, for people."""
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
        data="folder VOCdevkit, or VOC2007 inside it",
        presets={"paper": SVMConfig()},
        check=check_voc,
        module="orl_explorer.train.evaluate.voc07_svm",
    ),
    "voc07-lowshot": Protocol(
        headline="clean_map",
        headline_title="mean mAP over k",
        data="folder VOCdevkit, or VOC2007 inside it",
        presets={"paper": LowShotConfig()},
        check=check_voc,
        module="orl_explorer.train.evaluate.voc07_lowshot",
    ),
    "linear": Protocol(
        headline="top1",
        headline_title="top-1",
        data="folder with train/CLASS/photo and val/CLASS/photo",
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
        data="folder with train/CLASS/photo and val/CLASS/photo",
        presets={
            "imagenet-1percent": SemiConfig(),
            "imagenet-10percent": SemiConfig(fraction=0.1, weight_decay=1e-4),
            "small": LITTLE_SEMI,
        },
        check=check_folders,
        module="orl_explorer.train.evaluate.semi",
    ),
    "knn": Protocol(
        headline="accuracy",
        headline_title="accuracy",
        data="folder VOCdevkit, or one with train/CLASS/photo and val/CLASS/photo",
        presets={"standard": KNNConfig()},
        check=check_voc_or_folders,
        module="orl_explorer.train.evaluate.knn",
    ),
    "correspondence": Protocol(
        headline="same_class",
        headline_title="same class",
        data="name of an annotated data set of this workspace",
        presets={"standard": CorrespondenceConfig()},
        check=check_dataset,
        module="orl_explorer.train.evaluate.correspondence",
        takes_folder=False,
    ),
    "attention": Protocol(
        headline="activation_mean_iou",
        headline_title="IoU above the mean",
        data="name of an annotated data set of this workspace",
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
    ),
}


def protocol_named(name: str) -> Protocol:
    """One of the protocols. Raises UserError naming them."""
    if name not in PROTOCOLS:
        raise UserError(f"There is no protocol '{name}'; known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def evaluate_preset(protocol: str, preset: str = "") -> EvaluateConfig:
    """A preset of a protocol, by default its first. Raises UserError naming those there are."""
    presets = protocol_named(protocol).presets
    return preset_named(presets, preset or next(iter(presets)))


def resolved(config: EvaluateConfig, data: str) -> str:
    """The data of an evaluation as its run keeps it: a folder's whole path, or the name of a data set."""
    return str(Path(data).expanduser().resolve()) if protocol_named(config.protocol).takes_folder else data


def data_state(workspace: Workspace, data: str, config: EvaluateConfig) -> str:
    """What an evaluation would be made on now: another state, another result."""
    if protocol_named(config.protocol).takes_folder:
        return state_of(data)
    return f"revision {dataset_named(workspace.store, data).revision}"


def read_evaluate_config(values: dict[str, Any]) -> EvaluateConfig:
    """The settings that a run keeps. Raises UserError where another version wrote them."""
    try:
        return protocol_named(values["protocol"]).config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"The settings of this run were written by another version of the project "
            f"({'.'.join(map(str, first['loc']))}: {first['msg'].lower()}); start a new run."
        ) from error
