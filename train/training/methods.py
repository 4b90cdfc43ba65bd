"""The settings of each training method. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from orl_explorer.train.errors import UserError
from orl_explorer.train.settings import limits_in_words, setting
from orl_explorer.train.training.config import (
    NETWORKS,
    OPTIMISER,
    OWN,
    BatchSize,
    DenseWeight,
    KeyMomentum,
    Passes,
    Projection,
    Rate,
    TargetMomentum,
    Temperature,
    TrainConfig,
    WarmUp,
)


class BYOLConfig(TrainConfig):
    """Stage 1 of the paper."""

    title: ClassVar[str] = "BYOL"
    method: Literal["byol"] = "byol"
    target_momentum: TargetMomentum = 0.99

    @property
    def shared_views(self) -> bool:
        return True

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 2, 2),)


class MultiCropConfig(TrainConfig):
    """BYOL with additional small views (Table 5c)."""

    title: ClassVar[str] = "multi-crop BYOL"
    method: Literal["multicrop"] = "multicrop"
    target_momentum: TargetMomentum = 0.99
    local_size: int = setting(96, ge=32, le=1024, help="Side of a small view, in pixels")
    local_crops: int = setting(4, ge=1, le=16, help="Number of small views per photo")

    @property
    def shared_views(self) -> bool:
        return True

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 2, 2), Passes(self.local_size, self.local_crops))


class SimCLRConfig(TrainConfig):
    """SimCLR with LARS, a baseline of Tables 1-4."""

    title: ClassVar[str] = "SimCLR"
    method: Literal["simclr"] = "simclr"
    rate_per_256: Rate = 0.3
    weight_decay: float = setting(
        1e-6, ge=0, le=1, help="Weight decay of all parameters except biases and batch norms", group=OPTIMISER
    )
    hidden: int = setting(2048, ge=8, le=65_536, help="Width of the hidden layer of the projector", group=NETWORKS)
    projection: Projection = 128
    temperature: Temperature = 0.1

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 2),)


class QueueConfig(TrainConfig):
    """What MoCo v2 shares with the methods that build on it."""

    batch_size: BatchSize = 256
    rate_per_256: Rate = 0.3
    warmup_epochs: WarmUp = 0
    hidden: int = setting(2048, ge=8, le=65_536, help="Width of the hidden layer of the projector", group=NETWORKS)
    projection: Projection = 128
    temperature: Temperature = 0.2
    queue: int = setting(65_536, ge=1, le=2**24, help="Number of earlier keys in the queue of negatives", group=OWN)
    key_momentum: KeyMomentum = 0.999
    norm_group: int = setting(
        32, ge=2, help="Photos that batch norm normalises together. Keys are shuffled between these groups", group=OWN
    )

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 1, 1),)

    def check_part(self, photos: int) -> None:
        refuse_groups(self, photos, self.norm_group)


def refuse_groups(config: TrainConfig, photos: int, group: int) -> None:
    """Raise UserError if groups of so many photos leave one alone, or if there is but one to shuffle keys between.

    photos: of a pass in one process.
    """
    if photos % group == 1:
        raise UserError(f"norm_group = {group} leaves one photo alone, which cannot be normalised. Use another value.")
    everywhere = config.batch_size // config.accumulate
    if everywhere <= group and config.batch_norms == "learn":
        raise UserError(
            f"norm_group = {group} normalises all {everywhere} photos of a pass together. A query would recognise "
            f"its key by their statistics. Use {max(2, everywhere // 2)} or less."
        )


class MoCoConfig(QueueConfig):
    """MoCo v2, a baseline of Tables 1-4."""

    title: ClassVar[str] = "MoCo v2"
    method: Literal["moco"] = "moco"


class DenseCLConfig(QueueConfig):
    """DenseCL, a method of Table 4."""

    title: ClassVar[str] = "DenseCL"
    method: Literal["densecl"] = "densecl"
    dense_weight: DenseWeight = 0.5


class MLSConfig(QueueConfig):
    """MLS, a later method for scene photos."""

    title: ClassVar[str] = "MLS"
    method: Literal["mls"] = "mls"
    projection: Projection = 256
    key_momentum: KeyMomentum = 0.995
    dictionary: int = setting(
        4096, ge=2, le=2**24, help="Number of earlier photos in the dictionary. Each is a class of its own", group=OWN
    )
    pseudo_labels: int = setting(
        20, ge=1, le=2**24, help="Classes of each photo: so many of the dictionary, the most similar ones", group=OWN
    )
    label_weight: float = setting(
        0.5, ge=0, help="Weight of the loss of the pseudo-labels. MoCo's loss has the weight 1", group=OWN
    )

    @model_validator(mode="after")
    def _other_classes(self) -> MLSConfig:
        if self.pseudo_labels >= self.dictionary:
            raise ValueError("dictionary must be above pseudo_labels")
        return self


class SelfEMDConfig(TrainConfig):
    """After Self-EMD, a method of Table 4 without public code. What is not published is BYOL's."""

    title: ClassVar[str] = "after Self-EMD"
    method: Literal["selfemd"] = "selfemd"
    target_momentum: TargetMomentum = 0.99
    dense_weight: DenseWeight = 0.5

    @property
    def passes(self) -> tuple[Passes, ...]:
        return (Passes(self.image_size, 2, 2),)


ORLBase = Literal["byol", "simclr", "moco"]
BASES: dict[str, type[BYOLConfig | SimCLRConfig | MoCoConfig]] = {
    "byol": BYOLConfig,
    "simclr": SimCLRConfig,
    "moco": MoCoConfig,
}
# Settings of ORL that not all bases have. Under the others, they keep their default.
PECULIAR = ("target_momentum", "temperature", "queue", "key_momentum", "norm_group")


class ORLConfig(TrainConfig):
    """Stage 3 of the paper, over BYOL. Over another base, what is not given is that base's constant."""

    title: ClassVar[str] = "ORL"
    method: Literal["orl"] = "orl"
    base: ORLBase = setting(
        "byol",
        help="Method that the three branches learn by: its loss, views, optimiser and constants. The paper uses byol",
        group=OWN,
    )
    target_momentum: TargetMomentum = 0.99
    temperature: float = setting(
        0.0,
        ge=0,
        le=10,
        help="Temperature of the softmax over similarities, of base simclr and moco. 0: byol",
        group=OWN,
    )
    queue: int = setting(
        0,
        ge=0,
        le=2**24,
        help="Earlier keys in each branch's queue of negatives, of base moco. 0: another base",
        group=OWN,
    )
    key_momentum: float = setting(
        0.0, ge=0, le=1, help="Momentum of the key network, of base moco. 0: another base", group=NETWORKS
    )
    norm_group: int = setting(
        0,
        ge=0,
        help="Photos that batch norm normalises together, of base moco. Keys are shuffled between these groups. "
        "0: another base",
        group=OWN,
    )
    patch_size: int = setting(96, ge=32, le=1024, help="Side of a RoI view, in pixels")
    image_weight: float = setting(
        1.0, ge=0, help="Lambda 1: weight of the image-level loss (two views of a photo)", group=OWN
    )
    intra_weight: float = setting(
        1.0, ge=0, help="Lambda 2: weight of the intra-RoI loss (a RoI and a box near it)", group=OWN
    )
    inter_weight: float = setting(
        1.0, ge=0, help="Lambda 3: weight of the inter-RoI loss (the two RoIs of a pair)", group=OWN
    )
    neighbors: int = setting(
        0,
        ge=0,
        le=100,
        help="K of this run: use only the K nearest neighbours of each photo. 0: all neighbours of the set",
        group=OWN,
    )
    pair_ratio: float = setting(
        0,
        ge=0,
        le=1,
        help="N of this run: use only the best pairs, as a share of the query's RoIs. 0: all pairs of the set",
        group=OWN,
    )
    leave_out_wrong: bool = setting(False, help="Leave out pairs that a person judged wrong in the explorer", group=OWN)

    @model_validator(mode="before")
    @classmethod
    def _of_base(cls, given: Any) -> Any:
        base = BASES.get(str(given.get("base", "byol"))) if isinstance(given, dict) else None
        if base is None:
            return given
        known = cls.model_fields.keys() - {"method"}
        return {name: field.default for name, field in base.model_fields.items() if name in known} | given

    @property
    def unused(self) -> tuple[str, ...]:
        """The settings that the base does not have."""
        return tuple(name for name in PECULIAR if name not in BASES[self.base].model_fields)

    @model_validator(mode="after")
    def _fits_base(self) -> ORLConfig:
        for name in self.unused:
            if getattr(self, name) != type(self).model_fields[name].default:
                owners = " and ".join(base for base, config in BASES.items() if name in config.model_fields)
                raise ValueError(f"the base is {self.base}, and {name} belongs to {owners}")
        try:
            used = {name: getattr(self, name) for name in PECULIAR if name not in self.unused}
            BASES[self.base].model_validate(used)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            said = limits_in_words(BASES[self.base], name)
            raise ValueError(f"over base {self.base}, {name} must be {said}") from error
        return self

    @model_validator(mode="after")
    def _some_loss(self) -> ORLConfig:
        if not (self.image_weight or self.intra_weight or self.inter_weight):
            raise ValueError("at least one of image_weight, intra_weight and inter_weight must be above 0")
        return self

    @property
    def shared_views(self) -> bool:
        return self.base == "byol"

    @property
    def passes(self) -> tuple[Passes, ...]:
        sides = (self.image_size, self.patch_size, self.patch_size)
        weights = (self.image_weight, self.intra_weight, self.inter_weight)
        [of_base] = BASES[self.base]().passes
        return tuple(of_base._replace(side=side) for side, weight in zip(sides, weights, strict=True) if weight)

    def check_part(self, photos: int) -> None:
        if self.base == "moco":
            refuse_groups(self, photos, self.norm_group)

    def start_of(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        base = changes.get("base", self.base)
        from orl_explorer.train.training.presets import over

        return self.model_dump() if base == self.base or base not in BASES else over(self, base)


METHODS: tuple[type[TrainConfig], ...] = (
    BYOLConfig,
    MultiCropConfig,
    SimCLRConfig,
    MoCoConfig,
    DenseCLConfig,
    MLSConfig,
    SelfEMDConfig,
    ORLConfig,
)
_ANY: Any = reduce(or_, METHODS)
_READ: TypeAdapter[Any] = TypeAdapter(Annotated[_ANY, Field(discriminator="method")])


def read_config(values: dict[str, Any]) -> TrainConfig:
    """Read the settings of a run. Raises UserError if another version wrote them."""
    try:
        return _READ.validate_python(values)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "method"
        raise UserError(
            f"The settings of this run were written by another version of the project ({where}: "
            f"{error.errors()[0]['msg'].lower()}). Start a new run."
        ) from error
