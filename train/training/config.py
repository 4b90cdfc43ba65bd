"""The settings that all training methods share. This module does not import torch.

The form shows the fields in this order.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import field_validator, model_validator

from orl_explorer.train.errors import UserError
from orl_explorer.train.settings import Settings, setting

Optimiser = Literal["published", "sgd", "lars", "adamw"]
TrainPrecision = Literal["auto", "fp32", "bf16", "fp16"]
BatchNorms = Literal["learn", "frozen"]


class Passes(NamedTuple):
    """The passes over one photo: ``learned`` forward and backward, ``followed`` only forward, by a slow network."""

    side: int  # of the views, in pixels
    learned: int
    followed: int = 0


# Headings of the form. Settings without one are those that most people change first.
OWN, OPTIMISER, NETWORKS, MACHINE = "Only this method", "Optimiser", "Networks", "Machine and checks"
GROUPS = (OWN, OPTIMISER, NETWORKS, MACHINE)

# Settings whose defaults differ between methods.
BatchSize = Annotated[int, setting(ge=2, le=65_536, help="Photos per step, summed over all processes")]
Rate = Annotated[
    float,
    setting(
        gt=0,
        le=100,
        help="Learning rate for a batch of 256. The rate of a run is proportional to its batch size",
        group=OPTIMISER,
    ),
]
WarmUp = Annotated[float, setting(ge=0, help="Epochs over which the learning rate ramps up", group=OPTIMISER)]
Projection = Annotated[int, setting(ge=8, le=8192, help="Length of the projector's output", group=NETWORKS)]
TargetMomentum = Annotated[
    float, setting(ge=0, le=1, help="Initial momentum of the target network. It rises to 1", group=NETWORKS)
]
KeyMomentum = Annotated[float, setting(ge=0, le=1, help="Momentum of the key network", group=NETWORKS)]
Temperature = Annotated[float, setting(gt=0, le=10, help="Temperature of the softmax over similarities", group=OWN)]
DenseWeight = Annotated[
    float,
    setting(
        ge=0,
        lt=1,
        help="Weight of the loss between cells of the maps. The loss between pooled features has the rest",
        group=OWN,
    ),
]


ADAMW = 0.02  # highest rate


class TrainConfig(Settings):
    """The settings that all methods share. The defaults are the paper's."""

    title: ClassVar[str]
    method: str
    epochs: int = setting(800, ge=1, le=100_000, help="Passes over the photos")
    batch_size: BatchSize = 512
    backbone: str = setting(
        "resnet50",
        help="Name of a torchvision ResNet, efficientnet_lite0, or timm:NAME. Empty: that of the encoder to start from",
    )
    start_from: str = setting("", help="Encoder whose weights to start from. Empty: random weights, as in the paper")
    image_size: int = setting(224, ge=32, le=1024, help="Side of an image view, in pixels")
    scale_blur: bool = setting(
        False,
        help="Blur views in proportion to their side, as the published blur does views of 224 pixels. Otherwise small "
        "views are blurred by as many pixels as large ones",
    )
    rate_per_256: Rate = 0.2
    warmup_epochs: WarmUp = 4
    momentum: float = setting(0.9, ge=0, lt=1, help="Momentum of the optimiser", group=OPTIMISER)
    weight_decay: float = setting(1e-4, ge=0, le=1, help="Weight decay", group=OPTIMISER)
    optimiser: Optimiser = setting(
        "published",
        help="published: SGD or, for SimCLR, LARS. LARS scales the rate of each layer, for large batches. AdamW needs "
        "a rate near 0.001",
        group=OPTIMISER,
    )
    layer_decay: float = setting(
        1.0,
        gt=0,
        le=1,
        help="Factor of the learning rate from each block to the one before it. Below 1, blocks near the input learn "
        "more slowly",
        group=OPTIMISER,
    )
    head_rate: float = setting(
        1.0,
        gt=0,
        le=1000,
        help="Factor of the learning rate of projector and predictors. Above 1, new heads catch up with a "
        "backbone that learns slowly",
        group=OPTIMISER,
    )
    accumulate: int = setting(
        1,
        ge=1,
        le=1024,
        help="Number of parts of a batch, processed in turn to save memory. Batch norm normalises each part by itself, "
        "and SimCLR has negatives of the same part alone",
        group=OPTIMISER,
    )
    precision: TrainPrecision = setting(
        "auto",
        help="Precision of training. auto: bf16 on GPUs and CPUs that multiply bf16, fp16 on other GPUs, fp32 on other "
        "CPUs",
        group=OPTIMISER,
    )
    hidden: int = setting(
        4096, ge=8, le=65_536, help="Width of the hidden layer of the projector and of the predictors", group=NETWORKS
    )
    projection: Projection = 256
    freeze: int = setting(
        0,
        ge=-1000,
        le=1000,
        help="Number of blocks, from the input on, that stay as they are: the stem, then the stages of a convolutional "
        "network or the blocks of a transformer. Below 0: all but so many last ones",
        group=NETWORKS,
    )
    batch_norms: BatchNorms = setting(
        "learn",
        help="Batch norms of the backbone. learn: they normalise by each batch and learn weights. frozen: all keep the "
        "statistics and weights of the encoder to start from",
        group=NETWORKS,
    )
    seed: int = setting(
        0, ge=0, le=2**31 - 1, help="Seed of the initial weights, the order of photos and the views", group=MACHINE
    )
    workers: int = setting(
        4,
        ge=0,
        le=256,
        help="Processes that load and augment photos, per training process",
        group=MACHINE,
    )
    checkpoint_every: int = setting(10, ge=1, help="Epochs between checkpoints", group=MACHINE)
    keep_every: int = setting(
        0,
        ge=0,
        help="Epochs between encoders that are kept, each in a file of its own, to use or measure them later. 0: none",
        group=MACHINE,
    )
    knn_every: int = setting(
        10,
        ge=0,
        help="Epochs between checks of the features of up to 512 photos: their rank and, if photos are annotated, the "
        "accuracy of a k-NN classifier. 0: no checks",
        group=MACHINE,
    )

    @property
    def passes(self) -> tuple[Passes, ...]:
        """The network passes that one photo needs."""
        raise NotImplementedError

    @property
    def shared_views(self) -> bool:
        """Whether the slow network sees views that the network sees, so that frozen blocks run once for both."""
        return False

    @property
    def slow_network(self) -> bool:
        """Whether a moving average of the network is kept."""
        return any(each.followed for each in self.passes)

    def check_part(self, photos: int) -> None:
        """Raise UserError if the network cannot process so many photos at once."""

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        from orl_explorer.orl.architectures import ARCHITECTURES, TIMM

        if name and name not in ARCHITECTURES and not name.startswith(TIMM):
            raise ValueError(f"Use {', '.join(ARCHITECTURES)} or timm:NAME")
        return name

    @model_validator(mode="after")
    def _rate_of_adamw(self) -> Self:
        if self.optimiser == "adamw" and self.rate_per_256 > ADAMW:
            raise ValueError(
                f"AdamW does not learn at a rate of {self.rate_per_256:g} per 256 photos: set rate_per_256 near 0.001, "
                f"at most {ADAMW:g}"
            )
        return self


def refuse_uneven(config: TrainConfig, processes: int) -> None:
    """Raise UserError if a batch cannot be divided into equal parts of at least two photos."""
    pieces = config.accumulate * processes
    if config.batch_size % pieces or config.batch_size // pieces < 2:
        raise UserError(
            f"A batch of {config.batch_size} photos cannot be divided into {pieces} equal parts of two or more "
            f"(accumulate = {config.accumulate}, {processes} process{'es' if processes > 1 else ''})."
        )
    config.check_part(config.batch_size // pieces)
