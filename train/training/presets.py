"""The presets of each training method. This module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from orl_explorer.train.errors import UserError
from orl_explorer.train.settings import preset_named
from orl_explorer.train.training.config import TrainConfig, refuse_uneven
from orl_explorer.train.training.methods import (
    BYOLConfig,
    DenseCLConfig,
    MLSConfig,
    MoCoConfig,
    MultiCropConfig,
    ORLConfig,
    SelfEMDConfig,
    SimCLRConfig,
)

NONE: Mapping[str, Any] = MappingProxyType({})

# As much as two cores learn on 4000 photos in an hour of BYOL, or an hour and a half of ORL.
SMALL: dict[str, Any] = {
    "backbone": "resnet18",
    "epochs": 100,
    "batch_size": 64,
    "image_size": 64,
    "scale_blur": True,
    "warmup_epochs": 5,
    "hidden": 1024,
    "projection": 128,
    "checkpoint_every": 5,
    "knn_every": 5,
    "workers": 2,
}
# For a night on two cores, or a GPU.
MEDIUM: dict[str, Any] = {
    "backbone": "resnet18",
    "epochs": 400,
    "batch_size": 128,
    "image_size": 96,
    "scale_blur": True,
    "warmup_epochs": 10,
    "hidden": 2048,
}
# For a good encoder and about a thousand photos, in minutes on a CPU.
ADAPT: dict[str, Any] = {
    "backbone": "",
    "epochs": 5,
    "batch_size": 32,
    "image_size": 128,
    "warmup_epochs": 1,
    "layer_decay": 0.7,
    "head_rate": 10,
    "hidden": 512,
    "projection": 128,
    "freeze": -5,
    "batch_norms": "frozen",
    "checkpoint_every": 1,
    "knn_every": 1,
    "workers": 2,
}
# The published optimisers of the methods with negatives are for large batches. By AdamW they learn within minutes.
ADAMW_RATE = 0.002  # per 256 photos
CONTRASTIVE: dict[str, Any] = {"optimiser": "adamw", "rate_per_256": ADAMW_RATE, "batch_size": 128}
TENTH = 0.1  # of the published learning rate, for an encoder that is adapted

# Queues and dictionaries hold a few batches: with few photos, a longer one would hold views of the batch's own photos.
SHORT_QUEUE: dict[str, Any] = {"queue": 1024, "norm_group": 16, "key_momentum": 0.99}
LONG_QUEUE: dict[str, Any] = {"queue": 4096, "key_momentum": 0.996}
FEW_CLASSES: dict[str, Any] = {"dictionary": 512, "pseudo_labels": 5}


def _presets(
    config: Callable[..., TrainConfig], small: Mapping[str, Any] = NONE, medium: Mapping[str, Any] = NONE, **adapt: Any
) -> dict[str, TrainConfig]:
    """Return the presets of a method. small, medium, adapt: what differs from the values that all methods share."""
    paper = config()
    rate = paper.rate_per_256 * TENTH
    return {
        "small": config(**{**SMALL, **small}),
        "medium": config(**{**MEDIUM, **medium}),
        "paper": paper,
        "adapt": config(**{**ADAPT, "rate_per_256": rate, **adapt}),
    }


_OF_QUEUES: dict[str, Any] = {
    "small": CONTRASTIVE | SHORT_QUEUE,
    "medium": CONTRASTIVE | LONG_QUEUE,
    "queue": 1024,
    "key_momentum": 0.99,
}
PRESETS: dict[str, dict[str, TrainConfig]] = {
    "byol": _presets(BYOLConfig),
    "multicrop": _presets(MultiCropConfig, {"local_size": 32}, {"local_size": 48}),
    "simclr": _presets(SimCLRConfig, CONTRASTIVE, CONTRASTIVE, optimiser="adamw", rate_per_256=ADAMW_RATE * TENTH),
    "moco": _presets(MoCoConfig, **_OF_QUEUES),
    "densecl": _presets(DenseCLConfig, **_OF_QUEUES),
    "mls": _presets(MLSConfig, **{**_OF_QUEUES, "small": _OF_QUEUES["small"] | FEW_CLASSES}, **FEW_CLASSES),
    "selfemd": _presets(SelfEMDConfig),
    "orl": _presets(ORLConfig, {"patch_size": 32}, {"patch_size": 48}, image_weight=0, intra_weight=0),
}
PRESET_HELP = {
    "small": "ResNet-18 and views of 64 pixels, one to two hours on two cores for 4000 photos",
    "medium": "ResNet-18 and views of 96 pixels, for a night on two cores, or a GPU",
    "paper": "the published settings, for GPUs",
    "adapt": "the last blocks of a good encoder, which must be named, on about a thousand photos",
}
STAGE_1 = tuple(method for method in PRESETS if method != "orl")


def train_preset(method: str, preset: str) -> TrainConfig:
    """Return a preset of a method: small, medium, paper or adapt. Raises UserError with the known names."""
    if method not in PRESETS:
        raise UserError(f"There is no method '{method}'. Known methods: {', '.join(PRESETS)}.")
    return preset_named(PRESETS[method], preset)


def over(config: ORLConfig, base: str) -> dict[str, Any]:
    """Return the settings over another base, with that base's constants in place of the old ones.

    The constants are those of the base's preset whose name is that of the nearest preset. A setting that differs from
    the old base's preset stays as it is.
    """
    values = config.model_dump()
    olds, news = PRESETS[config.base], PRESETS[base]
    nearest = max(olds, key=lambda name: sum(values.get(key) == value for key, value in olds[name]))
    old, new = olds[nearest], news[nearest]
    for name, value in old:
        if name != "method" and values[name] == value:
            values[name] = getattr(new, name, ORLConfig.model_fields[name].default)
    return values | {name: value for name, value in new if name in values and name not in dict(old)} | {"base": base}


def smaller_batch(config: TrainConfig, photos: int, processes: int) -> str:
    """Return what to do if a batch is larger than the number of photos. Each value it names is a valid one."""
    pieces = config.accumulate * processes
    fitting = [size for size in range(2 * pieces, photos + 1, pieces) if _divides(config, size, processes)]
    if not fitting:
        group = 0 if "norm_group" in getattr(config, "unused", ()) else getattr(config, "norm_group", 0)
        group = max(2, group // 2) if group > 2 else group // 2
        if photos >= 4 * pieces and group >= 2:  # smaller groups of photos may be normalised together
            halved = smaller_batch(config.model_copy(update={"norm_group": group}), photos, processes)
            return halved if "norm_group" in halved else halved.replace(".", f" --set norm_group={group}.")
        return f"Add photos, {(4 if group else 2) * pieces} or more."
    some_steps = [size for size in fitting if 4 * size <= photos]  # an epoch of four steps or more, if possible
    size = f"--set batch_size={(some_steps or fitting[:1])[-1]}"
    presets = PRESETS[config.method]
    default, small = presets["paper"].batch_size, presets["small"]
    helps = config.batch_size == default and config.hidden != small.hidden and small.batch_size <= photos
    if helps and _divides(config, small.batch_size, processes):
        return f"Use --preset small, or {size}."
    return f"Use {size}."


def _divides(config: TrainConfig, batch_size: int, processes: int) -> bool:
    try:
        refuse_uneven(config.model_copy(update={"batch_size": batch_size}), processes)
    except UserError:
        return False
    return True
