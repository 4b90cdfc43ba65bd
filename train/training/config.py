"""The methods of training as settings, and their presets; free of torch.

The field descriptions are the help texts of the command line and of the forms.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from orl_explorer.train.errors import UserError
from orl_explorer.train.settings import Settings, preset_named

TrainPrecision = Literal["auto", "fp32", "bf16", "fp16"]


class Passes(NamedTuple):
    """Over one photo: ``learned`` passes forward and backward, ``followed`` ones forward by a slow network."""

    side: int  # of the views, in pixels
    learned: int
    followed: int = 0


class TrainConfig(Settings):
    """What every method has; the defaults are the paper's."""

    title: ClassVar[str]
    slow_network: ClassVar[bool] = True  # whether a slow copy of the network follows it
    method: str
    backbone: str = Field("resnet50", description="torchvision ResNet, or timm:NAME")
    start_from: str = Field("", description="Encoder whose weights to start from; none: random ones, as in the paper")
    epochs: int = Field(800, ge=1, le=100_000, description="Passes over the photos")
    batch_size: int = Field(512, ge=2, le=65_536, description="Photos per step, of all processes together")
    accumulate: int = Field(
        1, ge=1, le=1024, description="Parts of a batch that go one after the other; each is normalised by itself"
    )
    image_size: int = Field(224, ge=32, le=1024, description="Side of an image view, in pixels")
    rate_per_256: float = Field(
        0.2, gt=0, le=100, description="Learning rate at a batch of 256; it grows with the batch"
    )
    warmup_epochs: float = Field(4, ge=0, description="Epochs over which the learning rate ramps up")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of the optimiser")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Weight decay")
    hidden: int = Field(4096, ge=8, le=65_536, description="Width of the heads' hidden layer")
    projection: int = Field(256, ge=8, le=8192, description="Length of a projection")
    precision: TrainPrecision = Field("auto", description="Of the networks; auto: bf16 or fp16 on GPUs, fp32 on CPUs")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of weights, order and views")
    checkpoint_every: int = Field(10, ge=1, description="Epochs between checkpoints")
    knn_every: int = Field(
        10, ge=0, description="Epochs between k-NN checks on annotated photos, where there are some; 0 for none"
    )
    workers: int = Field(
        4, ge=0, le=256, description="Processes that load and augment photos, of each training process"
    )

    @property
    def passes(self) -> tuple[Passes, ...]:
        """What one photo costs."""
        raise NotImplementedError

    def check_part(self, photos: int) -> None:
        """Raises UserError where so many photos cannot go through the network at once."""

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        from orl_explorer.orl.architectures import RESNETS

        if name not in RESNETS and not name.startswith("timm:"):
            raise ValueError(f"It should be one of {', '.join(RESNETS)}, or timm:NAME")
        return name


TARGET = Field(0.99, ge=0, le=1, description="Momentum of the target at the start; it rises to 1")


class BYOLConfig(TrainConfig):
    """Stage 1 of the paper."""

    title: ClassVar[str] = "BYOL"
    method: Literal["byol"] = "byol"
    target_momentum: float = TARGET

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 2, 2),)


class MultiCropConfig(TrainConfig):
    """BYOL with small views besides (Table 5c)."""

    title: ClassVar[str] = "multi-crop BYOL"
    method: Literal["multicrop"] = "multicrop"
    target_momentum: float = TARGET
    local_crops: int = Field(4, ge=1, le=16, description="Small views of each photo")
    local_size: int = Field(96, ge=32, le=1024, description="Side of a small view, in pixels")

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 2, 2), Passes(self.local_size, self.local_crops))


class SimCLRConfig(TrainConfig):
    """Baseline of Tables 1-4, with LARS."""

    title: ClassVar[str] = "SimCLR"
    slow_network: ClassVar[bool] = False
    method: Literal["simclr"] = "simclr"
    rate_per_256: float = Field(
        0.3, gt=0, le=100, description="Learning rate at a batch of 256; it grows with the batch"
    )
    weight_decay: float = Field(1e-6, ge=0, le=1, description="Weight decay, not of biases and batch norms")
    hidden: int = Field(2048, ge=8, le=65_536, description="Width of the head's hidden layer")
    projection: int = Field(128, ge=8, le=8192, description="Length of a projection")
    temperature: float = Field(0.1, gt=0, le=10, description="Temperature of the softmax over similarities")

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 2),)


class MoCoConfig(TrainConfig):
    """MoCo v2, baseline of Tables 1-4."""

    title: ClassVar[str] = "MoCo v2"
    method: Literal["moco"] = "moco"
    batch_size: int = Field(256, ge=2, le=65_536, description="Photos per step, of all processes together")
    rate_per_256: float = Field(
        0.3, gt=0, le=100, description="Learning rate at a batch of 256; it grows with the batch"
    )
    warmup_epochs: float = Field(0, ge=0, description="Epochs over which the learning rate ramps up")
    hidden: int = Field(2048, ge=8, le=65_536, description="Width of the head's hidden layer")
    projection: int = Field(128, ge=8, le=8192, description="Length of a projection")
    temperature: float = Field(0.2, gt=0, le=10, description="Temperature of the softmax over similarities")
    queue: int = Field(65_536, ge=1, le=2**24, description="Earlier keys that serve as negatives")
    key_momentum: float = Field(0.999, ge=0, le=1, description="Momentum of the network for keys")
    norm_group: int = Field(
        32, ge=2, description="Photos that are normalised together; keys are shuffled between groups"
    )

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 1, 1),)

    def check_part(self, photos: int) -> None:
        if photos % self.norm_group == 1:
            raise UserError(f"norm_group = {self.norm_group} leaves one photo alone, which cannot be normalised.")


class ORLConfig(TrainConfig):
    """Stage 3 of the paper."""

    title: ClassVar[str] = "ORL"
    method: Literal["orl"] = "orl"
    target_momentum: float = TARGET
    patch_size: int = Field(96, ge=32, le=1024, description="Side of a RoI view, in pixels")
    image_weight: float = Field(1.0, ge=0, description="Lambda 1: weight of the image-level loss")
    intra_weight: float = Field(1.0, ge=0, description="Lambda 2: weight of the intra-RoI loss")
    inter_weight: float = Field(1.0, ge=0, description="Lambda 3: weight of the inter-RoI loss")
    neighbors: int = Field(0, ge=0, le=100, description="K of this run: only the nearest so many of the set; 0 for all")
    pair_ratio: float = Field(
        0,
        ge=0,
        le=1,
        description="N of this run: only the best pairs of the set, a share of the query's RoIs; 0 for all",
    )
    leave_out_wrong: bool = Field(False, description="Leave out pairs that somebody judged to be wrong")

    @model_validator(mode="after")
    def _some_loss(self) -> ORLConfig:
        if not (self.image_weight or self.intra_weight or self.inter_weight):
            raise ValueError("at least one of image_weight, intra_weight and inter_weight must be above 0")
        return self

    @property
    def passes(self) -> tuple[Passes, ...]:
        sides = (self.image_size, self.patch_size, self.patch_size)
        weights = (self.image_weight, self.intra_weight, self.inter_weight)
        return tuple(Passes(side, 2, 2) for side, weight in zip(sides, weights, strict=True) if weight)


AnyConfig = Annotated[
    BYOLConfig | MultiCropConfig | SimCLRConfig | MoCoConfig | ORLConfig, Field(discriminator="method")
]
_READ: TypeAdapter[Any] = TypeAdapter(AnyConfig)

# For a machine without a GPU: what it learns says nothing about the method.
LITTLE: dict[str, Any] = {
    "backbone": "resnet18",
    "epochs": 10,
    "batch_size": 32,
    "image_size": 96,
    "warmup_epochs": 1,
    "hidden": 1024,
    "projection": 128,
    "checkpoint_every": 1,
    "knn_every": 1,
    "workers": 2,
}
PRESETS: dict[str, dict[str, TrainConfig]] = {
    "byol": {"paper": BYOLConfig(), "small": BYOLConfig(**LITTLE)},
    "multicrop": {"paper": MultiCropConfig(), "small": MultiCropConfig(**LITTLE, local_size=48)},
    "simclr": {"paper": SimCLRConfig(), "small": SimCLRConfig(**LITTLE)},
    "moco": {"paper": MoCoConfig(), "small": MoCoConfig(**LITTLE, queue=512, norm_group=8, key_momentum=0.99)},
    "orl": {"paper": ORLConfig(), "small": ORLConfig(**LITTLE, patch_size=48)},
}
STAGE_1 = ("byol", "multicrop", "simclr", "moco")


def train_preset(method: str, preset: str) -> TrainConfig:
    """A method's preset, ``paper`` or ``small``. Raises UserError naming those there are."""
    if method not in PRESETS:
        raise UserError(f"There is no method '{method}'; known: {', '.join(PRESETS)}.")
    return preset_named(PRESETS[method], preset)


def read_config(values: dict[str, Any]) -> TrainConfig:
    """The settings that a run keeps. Raises UserError where another version wrote them."""
    try:
        return _READ.validate_python(values)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "method"
        raise UserError(
            f"The settings of this run were written by another version of the project ({where}: "
            f"{error.errors()[0]['msg'].lower()}); start a new run."
        ) from error


def refuse_uneven(config: TrainConfig, processes: int) -> None:
    """Raises UserError where a batch cannot be cut into equal parts that a batch norm can work with."""
    pieces = config.accumulate * processes
    if config.batch_size % pieces or config.batch_size // pieces < 2:
        raise UserError(
            f"A batch of {config.batch_size} photos cannot be cut into {pieces} equal parts of two or more "
            f"(accumulate = {config.accumulate}, {processes} process{'es' if processes > 1 else ''})."
        )
    config.check_part(config.batch_size // pieces)
