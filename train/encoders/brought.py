"""Encoders of other libraries: networks of timm, by name or from a folder, and how any encoder is read."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from orl_explorer.orl.architectures import TIMM
from orl_explorer.orl.backbones import build_backbone, normalisation
from orl_explorer.orl.dense import plan_trunk
from orl_explorer.orl.reading import Choices, LearnedFrom, Reading
from orl_explorer.orl.timm_backbones import create, timm_library
from orl_explorer.orl.timm_dense import plan_timm
from orl_explorer.train.encoders.hub import refuse_unreachable
from orl_explorer.train.encoders.state_dicts import Weights
from orl_explorer.train.errors import UserError

CONFIG = "config.json"


def timm_weights(name: str, choices: Choices, random: bool = False, seed: int = 0) -> Weights:
    """Return a network of timm with its published weights, or with random ones of a seed. Raises UserError."""
    architecture = TIMM + name
    reading = planned(lambda: plan_timm(architecture, choices))
    if random:
        reading = replace(reading, learned_from=choices.learned_from or "nothing")  # type: ignore[arg-type]
    elif repository := timm_library().get_pretrained_cfg(name).hf_hub_id:
        refuse_unreachable(repository)
    try:
        with torch.random.fork_rng(devices=[]), _without_reports():
            torch.manual_seed(seed)
            network = create(name, pretrained=not random, **reading.network)
    except Exception as error:  # no network, or no weights of this name
        raise UserError(
            f"Cannot get timm's weights of '{name}': {first_line(error)}. Download them on another machine and add "
            "the folder with timm-local:FOLDER."
        ) from error
    return _as_before(architecture, network, reading, choices)


def timm_folder_weights(folder: Path, choices: Choices) -> Weights:
    """Return a network from a folder that timm reads, such as one of the Hugging Face hub. Raises UserError."""
    config = described_model(folder)
    name = config.get("architecture")
    if not isinstance(name, str):
        raise UserError(f"{folder / CONFIG} names no architecture of timm. Use hf:{folder} for one of transformers.")
    published = config.get("pretrained_cfg") or {}
    arguments = {key: value for key, value in (config.get("model_args") or {}).items() if key != "num_classes"}
    architecture = f"{TIMM}{name}"
    reading = planned(lambda: plan_timm(architecture, choices, arguments, published))
    try:
        network = create(f"local-dir:{folder}", pretrained=True, **reading.network)
    except Exception as error:  # a damaged or missing file raises many kinds of errors
        raise UserError(f"Cannot read {folder} with timm: {first_line(error)}.") from error
    return _as_before(architecture, network, reading, choices)


@contextmanager
def _without_reports() -> Iterator[None]:
    """Keep the hub's client from telling each of its attempts."""
    hub = logging.getLogger("huggingface_hub")
    before = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(before)


def described_model(folder: Path) -> dict[str, Any]:
    """Return the description of a model in a folder. Raises UserError."""
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {folder / CONFIG}, which describes a model: {first_line(error)}.") from error
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG} describes no model. Download the folder again.")
    return config


def as_chosen(weights: Weights, choices: Choices) -> Weights:
    """Return weights with a person's choices of how they are read. Raises UserError."""
    if not choices or weights.reading is not None:
        return weights
    learned: LearnedFrom = "labels" if weights.supervised else "nothing"
    if weights.projector is not None:
        raise UserError(
            "Invalid value for layer, size, crop-size, pooling or learned-from: this encoder has a projector that was "
            "trained on its features. Leave them out."
        )
    if weights.architecture.startswith(TIMM):
        reading = planned(lambda: plan_timm(weights.architecture, choices))
        chosen: Any = choices.learned_from or learned
        reading = replace(reading, learned_from=chosen)
    else:
        reading = planned(lambda: plan_trunk(weights.architecture, choices, learned))
    return replace(weights, reading=reading, supervised=reading.learned_from == "labels")


def _as_before(architecture: str, network: nn.Module, reading: Reading, choices: Choices) -> Weights:
    """Return weights; without a reading, if the network can also be trained here and nothing was chosen.

    Such networks are convolutional, of stride 32. They are read as those of torchvision.
    """
    known = ("labels", "nothing")  # what weights without a reading may have learned from
    supervised = reading.learned_from == "labels"
    weights = Weights(architecture, network.state_dict(), supervised=supervised, reading=reading)
    if choices or any(reading.network.values()) or reading.fixed or reading.learned_from not in known:
        return weights
    try:
        with torch.device("meta"):
            trainable, _ = build_backbone(architecture)
    except ValueError:
        return weights
    same = trainable.state_dict().keys() == weights.backbone.keys()
    return (
        replace(weights, reading=None)
        if same and normalisation(architecture) == (reading.mean, reading.std)
        else weights
    )


def planned(plan: Callable[[], Reading]) -> Reading:
    """Return the reading that a plan makes. Raises UserError if it cannot be made."""
    try:
        return plan()
    except ValueError as error:
        raise UserError(str(error)) from error


def first_line(error: Exception) -> str:
    """Return what an error of a library says, without the end of the sentence."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
