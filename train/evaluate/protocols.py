"""The protocols of downstream evaluation: settings, presets, and where each one's function is. Free of torch."""

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
from orl_explorer.train.settings import Settings, preset_named, setting
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
    seed: int = setting(0, ge=0, le=2**31 - 1, help="Seed of everything drawn")


class VOCConfig(EvaluateConfig):
    """What the protocols on VOC07 have."""

    train_split: str = setting("trainval", min_length=1, help="Split to learn from: ImageSets/Main/CLASS_SPLIT.txt")
    test_split: str = setting("test", min_length=1, help="Split to measure on")
    workers: int = setting(2, ge=0, le=256, help="Processes that fit classifiers; 0: none beside the run's own")

    @model_validator(mode="after")
    def _two_splits(self) -> VOCConfig:
        if self.train_split == self.test_split:
            raise ValueError("train_split and test_split must not be the same")
        return self


class SVMConfig(VOCConfig):
    """Linear SVMs on frozen features (Table 1)."""

    title: ClassVar[str] = "VOC07 linear SVM"
    protocol: Literal["voc07-svm"] = "voc07-svm"
    bootstrap: int = setting(1000, ge=0, le=100_000, help="Draws of test photos for the 95 % intervals; 0 for none")


class LowShotConfig(VOCConfig):
    """Linear SVMs on a few positives of each class (Fig. 3)."""

    title: ClassVar[str] = "VOC07 low-shot SVM"
    protocol: Literal["voc07-lowshot"] = "voc07-lowshot"
    ks: Counts = setting((1, 2, 4, 8, 16, 32, 64, 96), help="Positives of each class, with 19 times the negatives")
    samples: int = setting(5, ge=1, le=1000, help="Independent samples of each k")


class HeadConfig(EvaluateConfig):
    """What the protocols that learn by gradient descent have."""

    epochs: int = setting(28, ge=1, le=100_000, help="Passes over the training photos")
    steps: Counts = setting((8, 16, 24), help="Epochs at which the learning rate falls")
    batch_size: int = setting(256, ge=2, le=65_536, help="Photos per step")
    momentum: float = setting(0.9, ge=0, lt=1, help="Momentum of SGD")
    weight_decay: float = setting(1e-4, ge=0, le=1, help="Weight decay")
    image_size: int = setting(224, ge=32, le=1024, help="Side of what the network sees, in pixels")
    workers: int = setting(4, ge=0, le=256, help="Processes that load photos")


class LinearConfig(HeadConfig):
    """Linear classifiers on five depths of the frozen backbone (Table 1)."""

    title: ClassVar[str] = "linear probes"
    protocol: Literal["linear"] = "linear"
    rate: float = setting(0.01, gt=0, le=100, help="Learning rate at the start")
    gamma: float = setting(0.1, gt=0, le=1, help="What the learning rate is multiplied by at each step")
    views: Literal["colour", "crop", "centre"] = setting(
        "colour",
        help="Of training photos: random crops with colour jitter and lighting, random crops alone, or centre "
        "crops, whose features are computed only once",
    )


class SemiConfig(HeadConfig):
    """Fine-tuning on a share of the labels (Table 2)."""

    title: ClassVar[str] = "semi-supervised fine-tuning"
    protocol: Literal["semi"] = "semi"
    fraction: float = setting(0.01, gt=0, le=1, help="Share of the labelled photos that are used")
    list_file: str = setting("", help="File that names the photos to use, one a line; none: a seeded sample")
    epochs: int = setting(20, ge=1, le=100_000, help="Passes over the training photos")
    steps: Counts = setting((12, 16), help="Epochs at which the learning rate falls")
    gamma: float = setting(0.2, gt=0, le=1, help="What the learning rate is multiplied by at each step")
    rates: Factors = setting((0.001, 0.01, 0.1), help="Learning rates of the backbone to try")
    head_multipliers: Factors = setting((1, 10, 100), help="How much faster the head learns, to try with each")
    weight_decay: float = setting(5e-4, ge=0, le=1, help="Weight decay")


class KNNConfig(EvaluateConfig):
    """Nearest neighbours as a classifier: nothing is trained."""

    title: ClassVar[str] = "k-NN classification"
    protocol: Literal["knn"] = "knn"
    ks: Counts = setting((1, 5, 20, 100, 200), help="Neighbours that vote; the best k is not picked, k says which")
    k: int = setting(20, ge=1, le=10_000, help="The k of the number that is reported")
    temperature: float = setting(0.07, gt=0, le=10, help="Of the votes: each weighs exp(cosine / temperature)")
    train_split: str = setting("trainval", min_length=1, help="Split that votes, of VOC's layout")
    test_split: str = setting("test", min_length=1, help="Split that is classified, of VOC's layout")


class CorrespondenceConfig(EvaluateConfig):
    """Whether pairs that the encoder finds are objects of one class, among boxes that do not depend on it."""

    title: ClassVar[str] = "quality of pairs"
    protocol: Literal["correspondence"] = "correspondence"
    queries: int = setting(200, ge=1, le=10_000_000, help="Query photos, drawn at random")
    neighbors: int = setting(10, ge=1, le=100, help="K: nearest images of each image")
    pair_ratio: float = setting(0.1, gt=0, le=1, help="N: pairs kept per neighbour, as a share of the query's RoIs")
    proposals: str = setting(
        "search", min_length=1, help="Raw boxes: search, annotations, or the name of imported; the store's own"
    )
    proposal_scale: float = setting(1.0, ge=0.1, le=1, help="Scale at which selective search ran")


class AttentionConfig(EvaluateConfig):
    """How well attention maps find annotated objects (Fig. 4, which the paper leaves at pictures)."""

    title: ClassVar[str] = "attention on objects"
    protocol: Literal["attention"] = "attention"
    photos: int = setting(1000, ge=1, le=10_000_000, help="Annotated photos to look at, drawn at random")


class DetectionConfig(EvaluateConfig):
    """Mask R-CNN on the backbone, all of it tuned (Table 3)."""

    title: ClassVar[str] = "detection and segmentation"
    protocol: Literal["detection"] = "detection"
    iterations: int = setting(90_000, ge=1, le=10_000_000, help="Steps; 90 000 of 16 photos are the 1x schedule")
    steps: Counts = setting((60_000, 80_000), help="Steps at which the learning rate falls")
    gamma: float = setting(0.1, gt=0, le=1, help="What the learning rate is multiplied by at each of those")
    warmup: int = setting(1000, ge=0, help="Steps over which the learning rate ramps up")
    rate: float = setting(0.02, gt=0, le=100, help="Learning rate; that of a batch of 16")
    batch_size: int = setting(16, ge=1, le=1024, help="Photos per step")
    accumulate: int = setting(
        1, ge=1, le=1024, help="Parts of a batch that go one after the other; each is normalised by itself"
    )
    momentum: float = setting(0.9, ge=0, lt=1, help="Momentum of SGD")
    weight_decay: float = setting(1e-4, ge=0, le=1, help="Weight decay")
    sides: Counts = setting(
        (640, 672, 704, 736, 768, 800),
        help="Short side of a photo in pixels, drawn from these; the last one for testing",
    )
    longest: int = setting(1333, ge=32, le=10_000, help="What no side may exceed, in pixels")
    train_json: str = setting("annotations/instances_train2017.json", help="COCO json of the photos to learn from")
    train_photos: str = setting("train2017", help="Their folder")
    val_json: str = setting("annotations/instances_val2017.json", help="COCO json of the photos to measure on")
    val_photos: str = setting("val2017", help="Their folder")
    checkpoint_every: int = setting(2500, ge=1, help="Steps between checkpoints")
    workers: int = setting(4, ge=0, le=256, help="Processes that load photos")

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
    name of a dataset. presets: the first one is what you get. check: raises UserError or StoreError where the data
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
        data="name of an annotated dataset of this workspace",
        presets={"standard": CorrespondenceConfig()},
        check=check_dataset,
        module="orl_explorer.train.evaluate.correspondence",
        takes_folder=False,
    ),
    "attention": Protocol(
        headline="activation_mean_iou",
        headline_title="IoU above the mean",
        data="name of an annotated dataset of this workspace",
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
    """The data of an evaluation as its run keeps it: a folder's whole path, or the name of a dataset."""
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
